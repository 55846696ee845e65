import type { TabletPosition } from '../change/position.ts';
import { formatOpId, type OpId } from '../kudu/opid.ts';
import type { CatalogTable } from '../streams/table-catalog.ts';
import { generationIn, membershipIn, type Membership } from '../streams/membership.ts';
import type { KeptTablet } from '../keeping/keepers.ts';
import {
  memberKey,
  type Correction,
  type Resync,
  type Rewind,
  type StoredStream,
  type StreamDetails,
} from '../streams/stored-stream.ts';

/** A stream, and what is kept of it. */
export interface KeptStream {
  readonly stored: StoredStream;
  readonly details: Omit<StreamDetails, 'joined'>;
}

/** A tablet, and the streams that have it. */
export interface TabletOfStreams {
  readonly tabletId: string;
  readonly table: CatalogTable;
  readonly streams: readonly { readonly open: KeptStream }[];
}

/** What is kept of a tablet in the present membership of its table. */
export interface KeptOfTablet {
  readonly membership: Membership;
  /** What its positions and markers are kept under. */
  readonly generation: string;
  readonly start: TabletPosition | undefined;
  readonly resync: Resync | undefined;
  readonly gapRepair: Resync | undefined;
  readonly correction: Correction | undefined;
  readonly rewind: Rewind | undefined;
  /** Operations whose rows are left out. */
  readonly skips: readonly OpId[];
  readonly isEnded: boolean;
}

export function keptOf({ stored, details }: KeptStream, tableId: string, tabletId: string): KeptOfTablet {
  const membership = membershipIn(stored, tableId);
  const key = memberKey(tabletId, membership);
  return {
    membership,
    generation: generationIn(stored, tableId),
    start: details.starts.get(key),
    resync: details.resyncs.get(key),
    gapRepair: details.gapRepairs.get(key),
    correction: details.corrections.get(key),
    rewind: details.rewinds.get(key),
    skips: details.skips.get(key) ?? [],
    isEnded: details.ended.has(key),
  };
}

/** What was asked for of a tablet besides its log, and in which membership of its table. */
export function askedOf(open: KeptStream, tableId: string, tabletId: string): string {
  const { generation, resync, correction, rewind, skips } = keptOf(open, tableId, tabletId);
  const asked = [resync, correction, rewind].map((request) => request?.id ?? '');
  return [generation, ...asked, ...skips.map(formatOpId)].join('/');
}

/** Of the streams that have a tablet. */
export function generationsOf({ tabletId, table, streams }: TabletOfStreams): string[] {
  return streams.map(({ open }) => keptOf(open, table.tableId, tabletId).generation);
}

/** What the keeper of a replica is to know of the streams that have it. */
export function keptTablet({ tabletId, table, streams }: TabletOfStreams): KeptTablet {
  return {
    tableId: table.tableId,
    streams: streams.map(({ open }) => {
      const { generation, start } = keptOf(open, table.tableId, tabletId);
      return { generation, startIndex: startIndex(start) };
    }),
  };
}

function startIndex(start: TabletPosition | undefined): bigint | null {
  if (start === undefined) return 0n;
  return start.copy === 'wanted' ? null : start.opId.index;
}
