import type { TabletPosition } from '../../change/position.ts';
import type { RecordBatch } from '../../change/record-batch.ts';
import type { Steps } from './disk.ts';
import type { OpenFile } from './tablet-folder.ts';

/**
 * What a writer puts its records into: the file itself that says what counts, its *log*, or others beside that. One for all files
 * of a writer, one after the other.
 */
export interface Content {
  /** Of the last record. */
  readonly table: string;
  /** Those that records were of, for who has to make a place for each. */
  readonly tables: ReadonlySet<string>;
  readonly file: OpenFile;
  /** Whether records are in the file, committed or not. */
  readonly hasRecords: boolean;
  /** Of the log: behind the last commit and its line break. */
  readonly end: number;
  /** Whether it is to be closed that is to have so many bytes. */
  isFull(bytes: number): boolean;
  /** Turns a batch into bytes of its own. @returns what writes them */
  encode(batch: RecordBatch): (steps: Steps) => Promise<void>;
  /** The line that commits what was written since the last one, without its line break. */
  commitLine(position: TabletPosition): string;
  /** Makes durable what is beside the log. */
  sync(steps: Steps): Promise<void>;
  /** The line is there, with its line break. @param bytes of both */
  said(bytes: number): void;
  /** Gives back the room of what no commit follows. */
  giveBack(): Promise<void>;
  /** Goes on in the next file. @returns what publishes the last one: false where who has taken over was quicker */
  turn(next: OpenFile): (steps: Steps) => Promise<boolean>;
  close(): Promise<void>;
}
