import type { Logger } from '../util/logger.ts';
import { pause } from '../util/pause.ts';
import { TimeLimit } from '../util/time-limit.ts';
import {
  generationOf,
  isItemKind,
  OLD_DEFINITION,
  OLD_PAUSED,
  OLD_REVISION,
  partOf,
  revisionNumber,
  type StreamRow,
  type StreamsTable,
} from './stream-items.ts';

/**
 * What nobody asks for any more is swept away when it has been so for {@link LEFT_OVER_MS}: far longer than a change of
 * a stream takes, which writes its revision last. Whoever was stopped on the way and took longer gives up.
 */
const LEFT_OVER_MS = 600_000;
const SWEEP_TIMEOUT_MS = 20_000;

/** Sweeps the streams table: what is left of streams that are no more or were never whole, and of older revisions. */
export class StreamSweeper {
  readonly #table: StreamsTable;
  readonly #logger: Logger;
  /** Since when rows are nobody's, on the monotonic clock: by stream and what they are of. */
  #leftOver: ReadonlyMap<string, number> = new Map();

  constructor(table: StreamsTable, logger: Logger) {
    this.#table = table;
    this.#logger = logger;
  }

  /** Sweeps now and then until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        using limit = new TimeLimit(signal, SWEEP_TIMEOUT_MS);
        await this.sweep(performance.now(), limit.signal);
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        this.#logger.debug({ reason }, 'left-over rows of streams not looked for');
      }
      await pause(LEFT_OVER_MS, signal);
    }
  }

  /** Deletes rows that are nobody's now and were when they were first seen so, long enough ago. */
  async sweep(nowMs: number, signal: AbortSignal): Promise<void> {
    const rows = await this.#table.scan({}, signal);
    const dead: { readonly row: StreamRow; readonly key: string }[] = [];
    for (const [stream, ofStream] of byStream(rows)) {
      const newest = newestOf(ofStream);
      for (const row of ofStream) {
        const of = newest === 'unreadable' ? null : leftOverOf(row, newest);
        if (of !== null) dead.push({ row, key: `${stream}/${of}` });
      }
    }
    this.#leftOver = new Map(dead.map(({ key }) => [key, this.#leftOver.get(key) ?? nowMs]));
    const due = dead.filter(({ key }) => nowMs - this.#leftOver.get(key)! >= LEFT_OVER_MS);
    if (due.length === 0) return;
    await this.#table.delete(
      due.map(({ row: { stream, item } }) => ({ stream, item })),
      signal,
    );
    this.#logger.info({ rows: due.length }, 'rows of streams that are no more deleted');
  }
}

function byStream(rows: readonly StreamRow[]): ReadonlyMap<string, readonly StreamRow[]> {
  const streams = new Map<string, StreamRow[]>();
  for (const row of rows) {
    const known = streams.get(row.stream);
    if (known) known.push(row);
    else streams.set(row.stream, [row]);
  }
  return streams;
}

interface Newest {
  readonly number: number;
  /** Id of the revision; empty where it has none. */
  readonly id: string;
  /** Null where there is no stream. */
  readonly generation: string | null;
}

/** What the newest revision of a name says; one that is not understood may be of a newer Spoor. */
function newestOf(rows: readonly StreamRow[]): Newest | 'unreadable' {
  let newest: StreamRow | null = null;
  for (const row of rows) {
    const number = revisionNumber(row.item);
    if (number !== null && number > (newest === null ? -1 : revisionNumber(newest.item)!)) newest = row;
  }
  if (newest === null) return { number: -1, id: '', generation: null };
  const generation = generationOf(newest);
  if (generation === null) return 'unreadable';
  const body = JSON.parse(newest.body) as { readonly id?: unknown; readonly parts?: unknown };
  const number = revisionNumber(newest.item)!;
  const exists = number === 0 || body.parts !== undefined;
  return { number, id: typeof body.id === 'string' ? body.id : '', generation: exists ? generation : null };
}

/** What a row is of that nobody asks for; null for one that somebody may. The newest revision stays for ever. */
function leftOverOf(row: StreamRow, newest: Newest): string | null {
  const number = revisionNumber(row.item);
  const generation = generationOf(row);
  if (number !== null && number > 0) return number < newest.number ? `revision ${number}` : null;
  const part = partOf(row.item);
  if (part !== null) return part === newest.id ? null : `part ${part}`;
  if ([OLD_DEFINITION, OLD_PAUSED, OLD_REVISION].includes(row.item)) {
    // Sidecars of version 0.1 go by these while they run beside those of now.
    const isOver = row.item === OLD_DEFINITION ? generation !== newest.generation : newest.generation === null;
    return generation !== null && isOver ? generation : null;
  }
  const kind = row.item.split('/', 1)[0]!;
  const isOurs = isItemKind(kind) || kind === 'details';
  return isOurs && generation !== null && generation !== newest.generation ? generation : null;
}
