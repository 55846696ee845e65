import { setImmediate as turn } from 'node:timers/promises';
import { formatOpId } from '../../src/kudu/opid.ts';
import type { LogEntry } from '../../src/wal/entry.ts';
import { SegmentCursor, type SegmentStep } from '../../src/wal/segment-cursor.ts';
import type { SegmentFile } from '../../src/wal/segment-source.ts';

let inodes = 0n;

/** A segment in memory: its bytes may change between two reads, as those of a file that is being written. */
export class MemorySegment implements SegmentFile {
  readonly path: string;
  readonly sequenceNumber: number;
  readonly inode: bigint;
  bytes: Buffer;
  released = false;

  /** In turns of the event loop: what a read takes, as one that has to wait for the disk. */
  readTurns = 0;
  /** How often somebody has read. */
  reads = 0;

  constructor(bytes: Buffer, sequenceNumber = 1, inode = ++inodes) {
    this.inode = inode;
    this.path = `wal-${String(sequenceNumber).padStart(9, '0')}`;
    this.sequenceNumber = sequenceNumber;
    this.bytes = bytes;
  }

  read(target: Buffer, position: number): number | Promise<number> {
    this.reads++;
    if (this.released) throw new Error(`${this.path} was released`);
    const count = Math.max(0, Math.min(target.length, this.bytes.length - position));
    if (count > 0) this.bytes.copy(target, 0, position, position + count);
    if (this.readTurns > 0) return this.#later(count);
    return target.length > 64 * 1024 ? Promise.resolve(count) : count;
  }

  async #later(count: number): Promise<number> {
    for (let i = 0; i < this.readTurns; i++) await turn();
    return count;
  }

  size(): number {
    return this.bytes.length;
  }

  release(): void {
    this.released = true;
  }
}

export interface WholeReading {
  readonly entries: readonly LogEntry[];
  /** How it ended: `closed`, or why there was no more. */
  readonly end: SegmentStep;
}

/** Everything in a segment as it is now. @throws what the cursor throws, with what was read before in `entries` */
export async function readWholeSegment(bytes: Buffer, entries: LogEntry[] = []): Promise<WholeReading> {
  const cursor = new SegmentCursor(new MemorySegment(bytes));
  for (;;) {
    const step = await cursor.step();
    if (step.kind === 'entries') entries.push(...step.entries);
    else if (step.kind !== 'header') return { entries, end: step };
  }
}

/** Steps until there is nothing more: OpIds of entries, and the last step's kind or tail reason. */
export async function drain(cursor: SegmentCursor): Promise<string[]> {
  const seen: string[] = [];
  for (;;) {
    const step = await cursor.step();
    if (step.kind === 'entries') seen.push(...step.entries.map((entry) => formatOpId(entry.opId)));
    else if (step.kind === 'tail') return [...seen, step.reason];
    else if (step.kind !== 'header') return [...seen, step.kind];
  }
}
