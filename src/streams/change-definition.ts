import { isDeepStrictEqual } from 'node:util';
import type { BodyFault } from '../util/zod-faults.ts';
import { parseStreamBody, type AskedStream, type ParsedStream } from './definition.ts';
import { editTables } from './table-edits.ts';

/**
 * A change of a stream, as a merge patch (RFC 7396): what it does not name stays. What decides where records are and how
 * they are written cannot change: positions and records of before would not fit those of after.
 */
export type StreamChange = Readonly<Record<string, unknown>>;

/** What a change may name; of the sink, these options. */
const CHANGEABLE = [
  'tables',
  'copyRowsPerSecond',
  'tombstones',
  'resolved',
  'paused',
  'sink',
  'columns',
  'oversize',
] as const;
const CHANGEABLE_OF_SINK = [
  'topics',
  'delivery',
  'partitions',
  'replicationFactor',
  'createTopics',
  'topicConfig',
  'compression',
  'schemaTopic',
  'maxLen',
  'minIdAgeMs',
  'wait',
  'durability',
  'rotateBytes',
  'rotateSeconds',
] as const;

/** A field in which two definitions differ; what is not given in one of them is undefined there. */
export interface FieldChange {
  readonly path: string;
  readonly now: unknown;
  readonly asked: unknown;
}

/** What of a stream would be another one, if it became as it is asked for. */
export function fieldChanges(stream: AskedStream, asked: AskedStream): FieldChange[] {
  const [before, after] = [wholeOf(stream), wholeOf(asked)];
  return namesOf(before, after).flatMap((name): FieldChange[] => {
    const [now, wanted] = [before[name], after[name]];
    if (isDeepStrictEqual(now, wanted)) return [];
    // Of another type there is nothing to compare the options with.
    if (!isObject(now) || !isObject(wanted) || now['type'] === undefined) return [{ path: name, now, asked: wanted }];
    const options = now['type'] === wanted['type'] ? namesOf(now, wanted) : ['type'];
    return options
      .filter((option) => !isDeepStrictEqual(now[option], wanted[option]))
      .map((option) => ({ path: `${name}.${option}`, now: now[option], asked: wanted[option] }));
  });
}

/** Whether a stream that goes on may have another value there. @param path as in {@link FieldChange} */
export function canChange(path: string): boolean {
  const [name = '', option] = path.split('.', 2);
  if (option === undefined) return includes(CHANGEABLE, name);
  return name === 'sink' && includes(CHANGEABLE_OF_SINK, option);
}

/** The stream with the change in it, or every fault of the change. Naming what stays as it is is no fault. */
export function changeDefinition(stream: AskedStream, asked: unknown): ParsedStream {
  if (!isObject(asked)) return { kind: 'invalid', faults: [{ path: '', message: 'must be an object' }] };
  const tables = editTables(stream.definition.tables, asked['tables']);
  if (tables.kind !== 'ok') return tables;
  const change = 'tables' in asked ? { ...asked, tables: tables.value } : asked;
  const before = wholeOf(stream);
  const faults: BodyFault[] = [];
  const refuse = (path: string, allowed: readonly string[]): void => {
    const message = `cannot change while the stream goes on; what can is ${allowed.join(', ')}`;
    faults.push({ path, message });
  };
  for (const [key, value] of Object.entries(change)) {
    if (key === 'sink' && isObject(value)) {
      for (const [option, wanted] of Object.entries(value))
        if (
          !includes(CHANGEABLE_OF_SINK, option) &&
          !isDeepStrictEqual(wanted, (before['sink'] as Record<string, unknown>)[option])
        )
          refuse(
            `sink.${option}`,
            CHANGEABLE_OF_SINK.map((name) => `sink.${name}`),
          );
    } else if (!includes(CHANGEABLE, key) && !isDeepStrictEqual(value, before[key])) refuse(key, CHANGEABLE);
  }
  if (faults.length > 0) return { kind: 'invalid', faults };
  return parseStreamBody(mergePatch(before, change));
}

/** RFC 7396: null removes, objects are merged, anything else replaces. */
function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isObject(patch)) return patch;
  const merged = new Map(isObject(target) ? Object.entries(target) : []);
  for (const [key, value] of Object.entries(patch))
    if (value === null) merged.delete(key);
    else merged.set(key, mergePatch(merged.get(key), value));
  return Object.fromEntries(merged);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function wholeOf({ definition, paused }: AskedStream): Readonly<Record<string, unknown>> {
  return { ...definition, paused };
}

function namesOf(...objects: readonly object[]): string[] {
  return [...new Set(objects.flatMap((object) => Object.keys(object)))];
}

function includes(names: readonly string[], name: string): boolean {
  return names.includes(name);
}
