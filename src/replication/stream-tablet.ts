import type { SinkPosition } from '../change/position.ts';
import { firstTabletId, type CatalogTable } from './catalog.ts';
import type { KeptTablet } from './replica-keepers.ts';
import type { OpenStream, StreamedTablet } from './stream-members.ts';
import type { SchemaRole } from './tablet-replicator.ts';

/** A tablet without these streams. */
export function without(tablet: StreamedTablet, ended: readonly OpenStream[]): StreamedTablet {
  return { ...tablet, streams: tablet.streams.filter(({ open }) => !ended.includes(open)) };
}

function startIndex(start: SinkPosition | undefined): bigint | null {
  if (start === undefined) return 0n;
  return start.copy === 'wanted' ? null : start.opId.index;
}

/** Id of a copy of all rows that was asked for; a gap is repaired where it is. */
export function resyncOf(open: OpenStream, tabletId: string): string | null {
  const asked = open.resyncs.get(tabletId);
  return asked?.from === 'snapshot' ? asked.id : null;
}

/** What was asked for of a tablet, besides its log. */
export function askedOf(open: OpenStream, tabletId: string): string {
  return `${resyncOf(open, tabletId) ?? ''}/${open.corrections.get(tabletId)?.id ?? ''}`;
}

/** One tablet speaks for its table. When it went with its range partition, the first of the others takes over. */
export function schemaRole(open: OpenStream, table: CatalogTable, tabletId: string, isDropped: boolean): SchemaRole {
  const speaker = open.joined.get(table.tableId)?.speakerTabletId;
  if (tabletId === speaker) return 'speaks';
  if (isDropped || table.tablets.some((tablet) => tablet.tabletId === speaker)) return 'none';
  return tabletId === firstTabletId(table) ? 'takes-over' : 'none';
}

/** What a tablet's keeper is to know of the streams that have it. */
export function keptTablet(tabletId: string, table: CatalogTable, streams: StreamedTablet['streams']): KeptTablet {
  return {
    tableId: table.tableId,
    streams: streams.map(({ open }) => ({
      generation: open.stored.generation,
      startIndex: startIndex(open.starts.get(tabletId)),
    })),
  };
}
