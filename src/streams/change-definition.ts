import type { BodyFault } from '../util/zod-faults.ts';
import { parseStreamDefinition, type ParsedDefinition, type StreamDefinition } from './definition.ts';
import { editTables } from './table-edits.ts';

/**
 * A change of a stream, as a merge patch (RFC 7396): what it does not name stays. What decides where records are and how
 * they are written cannot change: positions and records of before would not fit those of after.
 */
export type StreamChange = Readonly<Record<string, unknown>>;

/** What a change may name; of the sink, these options. */
const CHANGEABLE = ['tables', 'copyRowsPerSecond', 'tombstones', 'resolved', 'sink', 'columns', 'oversize'] as const;
const CHANGEABLE_OF_SINK = [
  'topics',
  'delivery',
  'partitions',
  'replicationFactor',
  'createTopics',
  'topicConfig',
  'compression',
  'schemaTopic',
] as const;

/** The definition with the change in it, or every fault of the change. Naming what stays as it is is no fault. */
export function changeDefinition(definition: StreamDefinition, asked: unknown): ParsedDefinition {
  if (!isObject(asked)) return { kind: 'invalid', faults: [{ path: '', message: 'must be an object' }] };
  const tables = editTables(definition.tables, asked.tables);
  if (tables.kind !== 'ok') return tables;
  const change = 'tables' in asked ? { ...asked, tables: tables.value } : asked;
  const before = definition as StreamDefinition & Record<string, unknown>;
  const faults: BodyFault[] = [];
  const refuse = (path: string, allowed: readonly string[]): void => {
    const message = `cannot change while the stream goes on; what can is ${allowed.join(', ')}`;
    faults.push({ path, message });
  };
  for (const [key, value] of Object.entries(change)) {
    if (key === 'sink' && isObject(value)) {
      for (const [option, wanted] of Object.entries(value))
        if (
          !(CHANGEABLE_OF_SINK as readonly string[]).includes(option) &&
          !isSame(wanted, (before.sink as Record<string, unknown>)[option])
        )
          refuse(
            `sink.${option}`,
            CHANGEABLE_OF_SINK.map((name) => `sink.${name}`),
          );
    } else if (!(CHANGEABLE as readonly string[]).includes(key) && !isSame(value, before[key])) refuse(key, CHANGEABLE);
  }
  if (faults.length > 0) return { kind: 'invalid', faults };
  return parseStreamDefinition(mergePatch(before, change));
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

function isSame(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
