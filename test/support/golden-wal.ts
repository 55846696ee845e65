import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { DumpedEntry } from './kudu-wal-dump.ts';

const DIR = fileURLToPath(new URL('../golden/wal', import.meta.url));

export interface GoldenSegment {
  readonly path: string;
  readonly bytes: Buffer;
  /** What Kudu's own tool reads in it. */
  readonly expected: readonly DumpedEntry[];
}

/** The captured segment of one case; test/golden/wal/README.md says what is in it. */
export function goldenWal(name: string): GoldenSegment {
  const path = join(DIR, name, 'wal-000000001');
  const file = JSON.parse(readFileSync(join(DIR, name, 'expected.json'), 'utf8')) as Record<string, DumpedEntry[]>;
  return { path, bytes: readFileSync(path), expected: file['wal-000000001']! };
}

export function goldenWalNames(): readonly string[] {
  return readdirSync(DIR, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && entry.name !== 'encrypted')
    .map((entry) => entry.name);
}

export function encryptedSegment(): Buffer {
  return readFileSync(join(DIR, 'encrypted', 'wal-000000001'));
}
