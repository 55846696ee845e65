import type { Change, TabletRef } from '../change/change.ts';
import type { TabletPosition } from '../change/position.ts';
import type { RowLayout } from '../change/row-layout.ts';
import { SpoorError } from '../errors.ts';
import type { HybridTime } from '../kudu/hybrid-time.ts';
import { formatOpId } from '../kudu/opid.ts';
import type { CommittedOp } from '../wal/commit-order.ts';
import type { SegmentHeader } from '../wal/segment-format.ts';
import { NameHistory, type NameLookUp } from './name-history.ts';
import { SchemaHistory, type SchemaVersion } from './schema-history.ts';

export interface TableInForceOptions {
  readonly tablet: { readonly tableId: string; readonly tabletId: string };
  /**
   * After which operation to begin, and what the log alone cannot tell there. The schema version may be lower than the
   * one in force, never higher: who takes it from a server asks for it before the OpId.
   */
  readonly after: TabletPosition;
  /**
   * The tablet's schema as a server has it now: asked only when the log no longer says what was in force at `after`
   * (the ALTER was in a segment that is gone, and the next one's header is older; kudu-facts 5.3).
   */
  readonly lookUpSchema?: () => Promise<SchemaVersion>;
  /** What the table is called now: asked where the log is read from its first operation on, see {@link NameHistory}. */
  readonly lookUpName?: NameLookUp;
}

/** A tablet's table as it was at the operation that is being read: what it was called, and its schema. */
export class TableInForce {
  readonly #options: TableInForceOptions;
  readonly #name: NameHistory;
  #history: SchemaHistory | null = null;
  #tablet: TabletRef;
  #isSettled = false;

  constructor(options: TableInForceOptions) {
    this.#options = options;
    this.#name = new NameHistory(options.after);
    this.#tablet = { ...options.tablet, tableName: options.after.tableName };
  }

  get tablet(): TabletRef {
    return this.#tablet;
  }

  /** Whether a segment was begun: before that there is no schema. */
  get hasSchema(): boolean {
    return this.#history !== null;
  }

  get current(): SchemaVersion {
    return this.#schema.current;
  }

  /** Whether the schema in force at `after` is known for sure. */
  get isSettled(): boolean {
    return this.#isSettled;
  }

  get #schema(): SchemaHistory {
    if (!this.#history) throw new TypeError('a log gives a segment before its entries');
    return this.#history;
  }

  /** What a position here says of the table. */
  at(): Pick<TabletPosition, 'tableName' | 'named' | 'schemaVersion'> {
    const { version } = this.current;
    return { ...this.#name.at(version), schemaVersion: version };
  }

  /** See {@link SchemaHistory.layoutOf}. */
  layoutOf(requestSchema: Buffer): RowLayout {
    return this.#schema.layoutOf(requestSchema);
  }

  /** @param isBehindGap whether what lies before was not read: an ALTER may be among it, and then the header says so */
  beginSegment({ schemaVersion: version, schema }: SegmentHeader, isBehindGap: boolean): void {
    if (this.#history === null) this.#history = new SchemaHistory({ version, schema });
    else if (isBehindGap) this.#history.advance({ version, schema });
  }

  /**
   * To be called when the log was read up to `after`. Where its header and ALTERs fall short of the version that was in
   * force there, a server is asked. @throws {SpoorError} SPOOR_WAL_GAP where that does not know it either
   */
  async settle(): Promise<void> {
    const { after, lookUpSchema, lookUpName, tablet } = this.#options;
    const wanted = after.schemaVersion;
    const known = this.current.version;
    if (known < wanted) {
      const found = await lookUpSchema?.();
      if (found?.version !== wanted)
        throw new SpoorError(
          'SPOOR_WAL_GAP',
          `schema version ${wanted} was in force at ${formatOpId(after.opId)}; the log knows ${known}` +
            (found ? `, the tablet server ${found.version}` : ''),
          { tabletId: tablet.tabletId },
        );
      this.#schema.advance(found);
    }
    await this.#name.settle(this.current.version, lookUpName);
    this.#tablet = { ...this.#tablet, tableName: this.#name.current };
    this.#isSettled = true;
  }

  /** The schema in force at `after`, as a change before the first operation. */
  announcement(hybridTime: HybridTime): Change {
    const { version, schema } = this.current;
    const after = { tableName: this.#tablet.tableName, schema };
    const { opId } = this.#options.after;
    return { kind: 'schema', tablet: this.#tablet, opId, hybridTime, version, before: null, after };
  }

  /**
   * Only an ALTER that succeeded counts, and only if the version rises: a master's retry logs the same one twice.
   * @param isNews whether it lies behind `after`: what lies before it tells nothing of the name
   * @returns the change that consumers are told; null for none
   */
  alter({ replicate, commit }: CommittedOp, isNews: boolean): Change | null {
    if (commit.failed) return null;
    const { opId, hybridTime } = replicate;
    const { schema, schemaVersion: version, newTableName } = replicate.readAlter();
    const before = { tableName: this.#tablet.tableName, schema: this.current.schema };
    if (!this.#schema.advance({ version, schema }) || !isNews) return null;
    const after = { tableName: this.#name.alter(version, newTableName), schema };
    if (after.tableName !== before.tableName) this.#tablet = { ...this.#tablet, tableName: after.tableName };
    return { kind: 'schema', tablet: this.#tablet, opId, hybridTime, version, before, after };
  }
}
