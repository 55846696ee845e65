import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { KuduError } from './errors.ts';
import type { HybridTime } from './hybrid-time.ts';
import { RowwiseRowBlockPBSchema } from './proto/common_pb.ts';
import type { NewScanRequestPBSchema, ScanRequestPBSchema } from './proto/tserver_pb.ts';
import { pauseBefore, type Deadline } from './rpc/deadline.ts';
import { rowBlockFromPb, type RowBlock } from './row-block.ts';
import type { TableSchema } from './schema.ts';
import { TserverErrorCode } from './status.ts';
import type { TableContext } from './table-context.ts';

/** A quarter of the time after which a server drops an idle scanner (`scanner_ttl_ms`, 60 s). */
const KEEP_ALIVE_MS = 15_000;
const CLOSE_TIMEOUT_MS = 5000;

/** One scanner on one tablet server: opened once, asked for batch after batch, closed. */
export class TabletScanner {
  readonly #context: TableContext;
  readonly #projection: TableSchema;
  readonly #batchBytes: number | undefined;
  #address: string | null = null;
  #scannerId: Uint8Array | null = null;
  #nextSeqId = 0;
  #keepAliveTimer: NodeJS.Timeout | null = null;
  #hasMore = false;
  #snapshotTimestamp: HybridTime | null = null;
  #lastKey: Buffer | null = null;

  constructor(context: TableContext, projection: TableSchema, batchBytes: number | undefined) {
    this.#context = context;
    this.#projection = projection;
    this.#batchBytes = batchBytes;
  }

  get hasMore(): boolean {
    return this.#hasMore;
  }

  /** The time that the server reads at; null for READ_LATEST. */
  get snapshotTimestamp(): HybridTime | null {
    return this.#snapshotTimestamp;
  }

  /** Encoded key of the last row so far, where the server says it (ordered snapshot scans). */
  get lastKey(): Buffer | null {
    return this.#lastKey;
  }

  /** Opens the scanner and takes its first batch. May be tried again, elsewhere too, when it fails. */
  async open(
    address: string,
    request: MessageInitShape<typeof NewScanRequestPBSchema>,
    deadline: Deadline,
  ): Promise<RowBlock> {
    this.#address = address;
    return this.#call({ newScanRequest: request, callSeqId: 0 }, deadline);
  }

  /**
   * The next batch; only while {@link hasMore}.
   * @throws {KuduError} `tserver` SCANNER_EXPIRED, `network`, `timeout`: this scanner is of no more use then
   */
  async next(deadline: Deadline): Promise<RowBlock> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#call({ scannerId: this.#scannerId!, callSeqId: this.#nextSeqId }, deadline);
      } catch (error) {
        // A call that did not run may be made again; one that may have run has moved the scanner on.
        const again = error instanceof KuduError && error.kind === 'rpc' && error.notRun && error.retriable;
        if (!again || deadline.remainingMs() === 0) throw error;
        await deadline.sleep(pauseBefore(attempt));
      }
    }
  }

  /** Ends the scanner on its server, without waiting for that. */
  close(): void {
    if (this.#keepAliveTimer) clearInterval(this.#keepAliveTimer);
    this.#keepAliveTimer = null;
    const scannerId = this.#scannerId;
    this.#scannerId = null;
    if (!scannerId || !this.#hasMore || this.#address === null) return; // the server has closed it with the last batch
    const request = { scannerId, callSeqId: this.#nextSeqId, batchSizeBytes: 0, closeScanner: true };
    this.#context
      .tabletServer(this.#address)
      .scan(request, { timeoutMs: CLOSE_TIMEOUT_MS })
      .catch(() => undefined); // it expires by itself
  }

  async #call(request: MessageInitShape<typeof ScanRequestPBSchema>, deadline: Deadline): Promise<RowBlock> {
    const server = this.#context.tabletServer(this.#address!);
    const askedAtMs = performance.now();
    const { message, sidecars } = await server.scan(
      { ...request, ...(this.#batchBytes === undefined ? {} : { batchSizeBytes: this.#batchBytes }) },
      { timeoutMs: deadline.remainingMs(), signal: deadline.signal },
    );
    this.#nextSeqId++;
    this.#hasMore = message.hasMoreResults;
    if (message.scannerId.length > 0) this.#scannerId = message.scannerId;
    if (this.#hasMore && !this.#scannerId)
      throw new KuduError('protocol', `${server.address} has more rows, but no scanner`, { address: server.address });
    if (message.lastPrimaryKey.length > 0) this.#lastKey = Buffer.from(message.lastPrimaryKey);
    if (message.snapTimestamp !== 0n) this.#snapshotTimestamp = message.snapTimestamp;
    this.#context.observed.note(message.propagatedTimestamp);
    this.#context.clock.note(message.propagatedTimestamp, askedAtMs);
    this.#keepAliveTimer ??= this.#startKeepAlive();
    return rowBlockFromPb(this.#projection, message.data ?? create(RowwiseRowBlockPBSchema), sidecars);
  }

  /** A consumer that is slow with a batch must not lose the scanner: it is kept until it is closed. */
  #startKeepAlive(): NodeJS.Timeout {
    const timer = setInterval(() => {
      const scannerId = this.#scannerId;
      if (!scannerId || !this.#hasMore || this.#address === null) return;
      this.#context
        .tabletServer(this.#address)
        .scannerKeepAlive(scannerId, { timeoutMs: KEEP_ALIVE_MS })
        .catch(() => undefined); // the next batch says what is wrong
    }, KEEP_ALIVE_MS);
    timer.unref();
    return timer;
  }
}

/** Whether the scanner is lost, with its server, its connection or by its age, while the rows are still there. */
export function isLostScanner(error: unknown): error is KuduError {
  if (!(error instanceof KuduError)) return false;
  return error.retriable || KuduError.is(error, 'tserver', TserverErrorCode.SCANNER_EXPIRED);
}
