import { createHash } from 'node:crypto';

/** A script of ours and by what Redis knows it. */
export interface Script {
  readonly text: string;
  readonly sha: string;
}

function script(lines: string): Script {
  return { text: lines, sha: createHash('sha1').update(lines).digest('hex') };
}

/*
 * The hash beside a stream key (`spoor:{<key>}`) has
 *
 *   <installation>/<stream>/<tablet>   <epoch> <count> <state as JSON>      whose the tablet is, how many writes there were, where it stands
 *   id                                 random, made with the hash: another one tells that this is not what was here before
 *   made                               1 once the stream key has had an entry of ours
 *
 * `#!lua` makes Redis refuse a script as a whole where it is at maxmemory, and not in its midst (7.0, script.c scriptPrepareForRun).
 */

/**
 * Takes a tablet over: KEYS stream, hash; ARGV field, epoch, an id in case there is none.
 * @returns {id, count, state}: the state empty where there is none
 */
export const OPEN = script(`#!lua
local call = redis.call
local kind = call('TYPE', KEYS[1]).ok
if kind ~= 'stream' and kind ~= 'none' then
  return redis.error_reply('WRONGTYPE ' .. KEYS[1] .. ' is a ' .. kind)
end
local id = call('HGET', KEYS[2], 'id')
if not id or (kind == 'none' and call('HDEL', KEYS[2], 'made') == 1) then
  id = ARGV[3]
  call('HSET', KEYS[2], 'id', id)
end
local stored = call('HGET', KEYS[2], ARGV[1])
local count, state = '0', ''
if stored then
  count, state = string.match(stored, '^%S+ (%d+) (.*)$')
  if not count then return redis.error_reply('UNREADABLE the field ' .. ARGV[1] .. ' of ' .. KEYS[2] .. ' was not written by Spoor') end
end
call('HSET', KEYS[2], ARGV[1], ARGV[2] .. ' ' .. count .. ' ' .. state)
return {id, count, state}
`);

/**
 * Compares and appends: KEYS stream, hash; ARGV field, epoch, the count before, the count behind, the state behind, an id in case
 * the stream was deleted meanwhile, then what to append: as msgpack a list of fields and values, so many to an entry.
 * @returns `OK`, or `ANEW` with that id taken; `DONE`: it was there already; `FENCED`; `CONFLICT`: another write is the last;
 *   `GONE`: there is no such field any more
 */
const appendWith = (xadd: string, step: number): Script =>
  script(`#!lua
local call, key, hash, field, epoch = redis.call, KEYS[1], KEYS[2], ARGV[1], ARGV[2]
local stored = call('HGET', hash, field)
if not stored then return 'GONE' end
local before = epoch .. ' ' .. ARGV[3] .. ' '
local behind = epoch .. ' ' .. ARGV[4] .. ' '
if string.sub(stored, 1, #before) ~= before then
  if string.sub(stored, 1, #behind) == behind then return 'DONE' end
  if string.sub(stored, 1, #epoch + 1) ~= epoch .. ' ' then return 'FENCED' end
  return 'CONFLICT'
end
local answer = 'OK'
if ARGV[7] then
  if call('HSETNX', hash, 'made', '1') == 0 and call('EXISTS', key) == 0 then
    call('HSET', hash, 'id', ARGV[6])
    answer = 'ANEW'
  end
  local t = cmsgpack.unpack(ARGV[7])
  for i = 1, #t, ${step} do ${xadd} end
end
call('HSET', hash, field, behind .. ARGV[5])
return answer
`);

/** Debezium Server's layouts. Source: RedisStreamChangeConsumer of debezium-server-redis. */
export const APPEND: Readonly<Record<'extended' | 'compact', Script>> = {
  extended: appendWith(`call('XADD', key, '*', 'key', t[i], 'value', t[i + 1], 'SPOOR.POS', t[i + 2])`, 3),
  compact: appendWith(`call('XADD', key, '*', t[i], t[i + 1])`, 2),
};

/**
 * What trimming goes by: KEYS stream; ARGV how many entries it is to keep, or -1; how many are to be looked at.
 * @returns {milliseconds, length, id of the first entry that may stay or '', then for each consumer group the id that it was given
 *   last, and of the oldest entry that it has not acknowledged, or ''}
 */
export const LOOK = script(`#!lua flags=no-writes
local call, key = redis.call, KEYS[1]
local time = call('TIME')
local now = string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
if call('TYPE', key).ok ~= 'stream' then return {now, '0', ''} end
local length = call('XLEN', key)
local keep = tonumber(ARGV[1])
local cut = ''
if keep >= 0 and length > keep then
  local entries = call('XRANGE', key, '-', '+', 'COUNT', math.min(length - keep, tonumber(ARGV[2])) + 1)
  if #entries > 0 then cut = entries[#entries][1] end
end
local answer = {now, tostring(length), cut}
for _, group in ipairs(call('XINFO', 'GROUPS', key)) do
  local g = {}
  for i = 1, #group, 2 do g[group[i]] = group[i + 1] end
  local pending = call('XPENDING', key, g['name'])
  answer[#answer + 1] = g['last-delivered-id']
  answer[#answer + 1] = pending[2] or ''
end
return answer
`);
