import type { CatalogTable } from '../streams/table-catalog.ts';
import type { StreamDefinition } from '../streams/definition.ts';
import { type StreamView } from './shapes.ts';
import { RefusedDefinitionError } from '../streams/stream-errors.ts';
import type { SinkPlan } from '../sinks/sink.ts';

/** What a stream's sink would do with tables of these names. */
export type SinkPlanner = (definition: StreamDefinition, tables: readonly string[]) => SinkPlan;

/** @throws {RefusedDefinitionError} the sink cannot take one of the tables */
export function refuseFaults(
  definition: StreamDefinition,
  tables: readonly CatalogTable[],
  planSink: SinkPlanner,
): void {
  const { faults } = planSink(definition, namesOf(tables));
  if (faults.length > 0) throw new RefusedDefinitionError('tables', faults);
}

/** A change may leave faults that were there before: it may be what mends others. @throws {RefusedDefinitionError} */
export function refuseNewFaults(
  before: readonly [StreamDefinition, readonly CatalogTable[]],
  after: readonly [StreamDefinition, readonly CatalogTable[]],
  planSink: SinkPlanner,
): void {
  const known = new Set(planSink(before[0], namesOf(before[1])).faults);
  const fresh = planSink(after[0], namesOf(after[1])).faults.filter((fault) => !known.has(fault));
  if (fresh.length > 0) throw new RefusedDefinitionError('tables', fresh);
}

/** What of a stream may not be meant, or cannot work, by the names that its tables have now. */
export function withWarnings(view: StreamView, planSink: SinkPlanner): StreamView {
  const { faults, warnings } = planSink(view, [...new Set(view.tablets.map(({ table }) => table))]);
  const all = [...faults, ...warnings];
  return all.length === 0 ? view : { ...view, warnings: all };
}

/** Where the sink puts these tables, each place once. */
export function placesOf(
  definition: StreamDefinition,
  tables: readonly CatalogTable[],
  planSink: SinkPlanner,
): string[] {
  return [...new Set(planSink(definition, namesOf(tables)).places.values())];
}

function namesOf(tables: readonly CatalogTable[]): string[] {
  return tables.map(({ name }) => name);
}
