import { firstTabletId, type CatalogTable } from '../streams/table-catalog.ts';
import type { OpenStream, StreamedTablet } from './open-streams.ts';
import type { SchemaRole } from '../shipping/tablet-replicator.ts';

/** A tablet without these streams. */
export function without(tablet: StreamedTablet, ended: readonly OpenStream[]): StreamedTablet {
  return { ...tablet, streams: tablet.streams.filter(({ open }) => !ended.includes(open)) };
}

/** One tablet speaks for its table. When it went with its range partition, the first of the others takes over. */
export function schemaRole(open: OpenStream, table: CatalogTable, tabletId: string, isDropped: boolean): SchemaRole {
  const speaker = open.joined.get(table.tableId)?.speakerTabletId;
  if (tabletId === speaker) return 'speaks';
  if (isDropped || table.tablets.some((tablet) => tablet.tabletId === speaker)) return 'none';
  return tabletId === firstTabletId(table) ? 'takes-over' : 'none';
}
