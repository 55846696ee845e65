import { SpoorError } from '../errors.ts';
import { readBatchRun } from './batch-run.ts';
import { AT_ONCE_BYTES, type LocalSegment } from './local-segment.ts';
import { SegmentCursor } from './segment-cursor.ts';
import { readSegmentStart } from './segment-format.ts';

/** What indexes the REPLICATEs of a segment have. */
export interface IndexRange {
  /** Both null where it has none. */
  readonly min: bigint | null;
  readonly max: bigint | null;
  /** False when something in it cannot be read: then there may be more, of which nothing is known. */
  readonly isWhole: boolean;
}

/**
 * Reads a whole segment that nothing is written to any more, up to its end, torn or not: a reader of the log comes no
 * further. @throws what the file system says
 */
export async function scanIndexes(file: LocalSegment): Promise<IndexRange> {
  let min: bigint | null = null;
  let max: bigint | null = null;
  const cursor = new SegmentCursor(file);
  try {
    for (;;) {
      const step = await cursor.step();
      if (step.kind === 'entries') {
        for (const { kind, opId } of step.entries) {
          if (kind !== 'replicate') continue;
          if (min === null || opId.index < min) min = opId.index;
          if (max === null || opId.index > max) max = opId.index;
        }
      } else if (step.kind !== 'header')
        return { min, max, isWhole: step.kind !== 'fault' || step.fault.kind === 'corrupt' };
    }
  } catch (error) {
    if (error instanceof SpoorError) return { min, max, isWhole: false };
    throw error;
  }
}

/**
 * The index of a segment's first REPLICATE, read at once: it stands near the start, behind COMMITs at most.
 * @returns null when there is none yet, or none that can be read
 * @throws what the file system says
 */
export function findFirstReplicate(file: LocalSegment): bigint | null {
  try {
    let window = Buffer.allocUnsafeSlow(AT_ONCE_BYTES);
    let filled = readAtOnce(file, window, 0);
    let start = readSegmentStart(window.subarray(0, filled));
    if (start.kind === 'short' && filled === window.length) {
      window = Buffer.allocUnsafeSlow(start.needBytes);
      filled = readAtOnce(file, window, 0);
      start = readSegmentStart(window.subarray(0, filled));
    }
    if (start.kind !== 'header') return null;
    const format = { ...start.header, path: file.path };
    for (let at = start.endOffset; ;) {
      filled = readAtOnce(file, window, at);
      const { entries, consumed, stop, needBytes } = readBatchRun(window, 0, filled, at, format);
      const first = entries.find((entry) => entry.kind === 'replicate');
      if (first !== undefined) return first.opId.index;
      at += consumed;
      if (consumed > 0) continue;
      if (stop !== 'more' || needBytes <= window.length || needBytes > file.size() - at) return null;
      window = Buffer.allocUnsafeSlow(needBytes);
    }
  } catch (error) {
    if (error instanceof SpoorError) return null; // who reads the log says what is wrong
    throw error;
  }
}

function readAtOnce(file: LocalSegment, target: Buffer, position: number): number {
  let filled = 0;
  while (filled < target.length) {
    const slice = target.subarray(filled, filled + AT_ONCE_BYTES);
    const bytes = file.read(slice, position + filled) as number; // not a promise, as it is no longer than that
    if (bytes === 0) break;
    filled += bytes;
  }
  return filled;
}
