import { firstTabletId, type CatalogTable } from '../streams/table-catalog.ts';
import type { JoinedTable } from '../streams/stored-stream.ts';
import { askedOf } from './kept-tablet.ts';
import type { OpenStream, StreamedTablet, TabletsStream } from './open-streams.ts';
import type { WantedTablet } from './shipped-tablets.ts';
import type { SchemaRole } from '../shipping/tablet-replicator.ts';

/** A tablet without these streams. */
export function without(tablet: StreamedTablet, ended: readonly OpenStream[]): StreamedTablet {
  return { ...tablet, streams: tablet.streams.filter(({ open }) => !ended.includes(open)) };
}

/** Worked out once for each of hundreds of tablets, and again where another one speaks for its table. */
const known = new WeakMap<TabletsStream, { readonly joined: JoinedTable | undefined; readonly wanted: WantedTablet }>();

/** What a tablet of one of its streams is shipped as. */
export function wantedTablet(stream: TabletsStream, { tabletId, table, dropped }: StreamedTablet): WantedTablet {
  const { open } = stream;
  const joined = open.joined.get(table.tableId);
  const before = known.get(stream);
  if (before !== undefined && before.joined === joined) return before.wanted;
  const asked = askedOf(open, table.tableId, tabletId);
  const schemas = schemaRole(open, table, tabletId, dropped !== undefined);
  const wanted = { open, table, tabletId, asked, schemas };
  known.set(stream, { joined, wanted });
  return wanted;
}

/** One tablet speaks for its table. When it went with its range partition, the first of the others takes over. */
function schemaRole(open: OpenStream, table: CatalogTable, tabletId: string, isDropped: boolean): SchemaRole {
  const speaker = open.joined.get(table.tableId)?.speakerTabletId;
  if (tabletId === speaker) return 'speaks';
  if (isDropped || table.tablets.some((tablet) => tablet.tabletId === speaker)) return 'none';
  return tabletId === firstTabletId(table) ? 'takes-over' : 'none';
}
