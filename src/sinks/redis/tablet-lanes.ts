import { randomBytes } from 'node:crypto';
import type { TabletPosition } from '../../change/position.ts';
import type { RecordBatch } from '../../change/record-batch.ts';
import { SinkError, type SinkTablet } from '../sink.ts';
import type { Layout } from './entry-chunk.ts';
import { crc16 } from './key-slot.ts';
import { deadLetterKey, shardKeys, type KeyNamer } from './keys.ts';
import { lowestPosition } from './lane-filter.ts';
import type { RedisConnection } from './redis-connection.ts';
import { TabletLane } from './tablet-lane.ts';

/** The lanes of a tablet for one name of its table. */
export interface TableLanes {
  readonly key: string;
  readonly shards: readonly TabletLane[];
  readonly deadLetters: TabletLane;
}

export interface TabletLanesOptions {
  readonly connection: RedisConnection;
  readonly tablet: Pick<SinkTablet, 'streamName' | 'streamGeneration' | 'tabletId'>;
  readonly installation: string;
  readonly nameKey: KeyNamer;
  readonly shards: number;
  readonly layout: Layout;
  readonly schemaKey: string;
}

/** A table may have been renamed so often since somebody looked. */
const MAX_NAMES = 16;

/** All stream keys that a tablet's records go to, taken over by one writer. */
export class TabletLanes {
  readonly schema: TabletLane;
  readonly #options: TabletLanesOptions;
  readonly #epoch: string;
  readonly #byKey: Map<string, TableLanes>;

  private constructor(
    options: TabletLanesOptions,
    epoch: string,
    { schema, byKey }: { readonly schema: TabletLane; readonly byKey: Map<string, TableLanes> },
  ) {
    this.#options = options;
    this.#epoch = epoch;
    this.schema = schema;
    this.#byKey = byKey;
  }

  /** Takes over the lanes of the tablet's table. @throws {SinkError} */
  static async open(options: TabletLanesOptions, tableName: string, signal: AbortSignal): Promise<TabletLanes> {
    const epoch = randomBytes(12).toString('base64url');
    const byKey = new Map<string, TableLanes>();
    const key = keyOf(options, tableName);
    const [schema, lanes] = await Promise.all([
      openLane(options, epoch, options.schemaKey, signal),
      openTable(options, epoch, key, signal),
    ]);
    byKey.set(key, lanes);
    return new TabletLanes(options, epoch, { schema, byKey });
  }

  /**
   * Where the tablet is: in the lanes of that table, or of the name that it has had since, which the last write to the old ones says.
   * @throws {SinkError}
   */
  async where(tableName: string, signal: AbortSignal): Promise<{ position: TabletPosition | null; lanes: TableLanes }> {
    let lanes = await this.of(tableName, signal);
    let position = positionOf(lanes);
    for (let names = 1; names < MAX_NAMES && position !== null; names++) {
      const later = await this.of(position.tableName, signal);
      const further = later === lanes ? null : positionOf(later);
      if (further === null) break;
      [lanes, position] = [later, further];
    }
    return { position, lanes };
  }

  /** @throws {SinkError} the table has no place, or it cannot be taken over */
  async of(tableName: string, signal: AbortSignal): Promise<TableLanes> {
    const key = keyOf(this.#options, tableName);
    const known = this.#byKey.get(key);
    if (known) return known;
    const opened = await openTable(this.#options, this.#epoch, key, signal);
    this.#byKey.set(key, opened);
    return opened;
  }

  /** By the CRC16 of what a record is placed by, its key unless the stream says otherwise. */
  shardOf({ shards }: TableLanes, batch: RecordBatch, i: number): TabletLane {
    return shards[crc16(batch.routeBytes(i), batch.routeStart(i), batch.routeEnd(i)) % shards.length]!;
  }

  /**
   * The position with the rows of a write that was left in its midst, which need not be read again. Of several shards each has others,
   * and within a copy the log is read twice: there they come again, and are left out here.
   */
  withRows(position: TabletPosition, { shards }: TableLanes): TabletPosition {
    const partial = shards.length === 1 ? shards[0]!.state.partial : null;
    if (!partial?.row || partial.copied || position.copy !== undefined) return position;
    return { ...position, upTo: partial.row };
  }
}

function positionOf({ shards }: TableLanes): TabletPosition | null {
  return lowestPosition(shards.map(({ state }) => state.position));
}

function keyOf({ nameKey }: TabletLanesOptions, tableName: string): string {
  try {
    return nameKey(tableName);
  } catch (error) {
    throw new SinkError('refused', error instanceof Error ? error.message : String(error), error);
  }
}

async function openTable(
  options: TabletLanesOptions,
  epoch: string,
  key: string,
  signal: AbortSignal,
): Promise<TableLanes> {
  const [deadLetters, ...shards] = await Promise.all(
    [deadLetterKey(key), ...shardKeys(key, options.shards)].map((each) => openLane(options, epoch, each, signal)),
  );
  return { key, shards, deadLetters: deadLetters! };
}

async function openLane(
  options: TabletLanesOptions,
  epoch: string,
  key: string,
  signal: AbortSignal,
): Promise<TabletLane> {
  const { connection, tablet, installation, layout } = options;
  const node = await connection.nodeOf(key, signal);
  node.throwIfTroubled();
  const field = `${installation}/${tablet.streamName}/${tablet.tabletId}`;
  return TabletLane.open({ key, layout, field, generation: tablet.streamGeneration, epoch, node });
}
