import { readFileSync } from 'node:fs';
import { CliError } from './cli-error.ts';
import { settingsOf, toNumber, withoutUndefined } from './flag-values.ts';
import { hasSinkFlags, missingPlace, sinkOf, type Flags } from './sink-flags.ts';

/** What `spoor streams create` takes instead of a file, besides what is of one sink. That of `--no-...` is true where it was not given. */
interface StreamFlags {
  readonly name?: string;
  readonly table?: readonly string[];
  readonly start?: string;
  readonly format?: string;
  readonly formatOption?: readonly string[];
  readonly images?: string;
  readonly tombstones?: boolean;
  readonly resolvedIntervalMs?: string;
  readonly copyRowsPerSecond?: string;
  readonly paused?: boolean;
}
export type CreateFlags = StreamFlags & Flags;

/** What `spoor streams change` takes instead of a file. */
export interface ChangeFlags {
  readonly addTable?: string[];
  readonly removeTable?: string[];
  readonly copyRowsPerSecond?: string;
}

const STREAM_FLAGS = [
  'name',
  'table',
  'start',
  'format',
  'formatOption',
  'images',
  'tombstones',
  'resolvedIntervalMs',
  'copyRowsPerSecond',
  'paused',
] as const satisfies (keyof StreamFlags)[];

/** The body for POST /v1/streams: from a JSON file, from standard input (`-`), or from flags. The API judges it. */
export function streamInput(file: string | undefined, flags: CreateFlags, readStdin: () => string): unknown {
  if (file === undefined) return fromFlags(flags);
  const isGiven = (flag: keyof StreamFlags): boolean =>
    flags[flag] !== undefined && !(flag === 'tombstones' && flags.tombstones === true);
  if (STREAM_FLAGS.some(isGiven) || hasSinkFlags(flags)) throw new CliError(2, 'give a file or flags, not both');
  return fromFile(file, readStdin);
}

/** The body for PATCH /v1/streams/{name}. @param current asked when tables go, which must be there */
export async function changeInput(
  file: string | undefined,
  flags: ChangeFlags,
  readStdin: () => string,
  current: () => Promise<{ readonly tables: readonly string[] }>,
): Promise<unknown> {
  const { addTable, removeTable, copyRowsPerSecond } = flags;
  const hasFlags = addTable !== undefined || removeTable !== undefined || copyRowsPerSecond !== undefined;
  if (file !== undefined && hasFlags) throw new CliError(2, 'give a file or flags, not both');
  if (file !== undefined) return fromFile(file, readStdin);
  if (!hasFlags)
    throw new CliError(
      2,
      'give a JSON file, - for standard input, or flags: --add-table, --remove-table, --copy-rows-per-second',
    );
  if (removeTable !== undefined) {
    const { tables: before } = await current();
    const stranger = removeTable.find((pattern) => !before.includes(pattern));
    if (stranger !== undefined)
      throw new CliError(2, `the stream has no ${JSON.stringify(stranger)} among its tables: ${before.join(', ')}`);
  }
  // Not a list of all: what somebody else changes at the same time is to stay.
  const edits = withoutUndefined({ add: addTable, remove: removeTable });
  const tables = Object.keys(edits).length > 0 ? edits : undefined;
  return withoutUndefined({
    tables,
    copyRowsPerSecond: copyRowsPerSecond === undefined ? undefined : toNumber(copyRowsPerSecond),
  });
}

function fromFile(file: string, readStdin: () => string): unknown {
  const source = file === '-' ? 'standard input' : file;
  let text: string;
  try {
    text = file === '-' ? readStdin() : readFileSync(file, 'utf8');
  } catch (error) {
    throw new CliError(1, `cannot read ${source}: ${messageOf(error)}`, error);
  }
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw new CliError(1, `${source} is not JSON: ${messageOf(error)}`, error);
  }
}

/** What was not given is left out, so that the API's defaults hold. */
function fromFlags(flags: CreateFlags): unknown {
  const sink = sinkOf(flags);
  const missing = [
    flags.name === undefined ? '--name' : null,
    flags.table === undefined ? '--table' : null,
    missingPlace(flags),
  ].filter((flag) => flag !== null);
  if (missing.length > 0)
    throw new CliError(2, `give a JSON file, - for standard input, or flags; missing: ${missing.join(', ')}`);
  const { name, table, start, format, formatOption, images, tombstones } = flags;
  const { resolvedIntervalMs, copyRowsPerSecond, paused } = flags;
  return withoutUndefined({
    name,
    tables: table,
    start,
    sink,
    format: formatOf(format, formatOption),
    images,
    tombstones: tombstones === false ? false : undefined,
    resolved: resolvedIntervalMs === undefined ? undefined : { intervalMs: toNumber(resolvedIntervalMs) },
    copyRowsPerSecond: copyRowsPerSecond === undefined ? undefined : toNumber(copyRowsPerSecond),
    paused,
  });
}

/** A name that is given more than once is a list: the URLs of one registry. */
function formatOf(type: string | undefined, given: readonly string[] | undefined): unknown {
  if (given === undefined) return type === undefined ? undefined : { type };
  if (type === undefined) throw new CliError(2, '--format-option goes with --format');
  const options = new Map<string, unknown[]>();
  for (const [name, text] of settingsOf('--format-option', given)) {
    if (name === 'type') throw new CliError(2, '--format-option: the type is given as --format');
    options.set(name, [...(options.get(name) ?? []), toBoolean(text)]);
  }
  const values = [...options].map(([name, all]) => [name, all.length === 1 ? all[0] : all]);
  return { type, ...(Object.fromEntries(values) as Record<string, unknown>) };
}

function toBoolean(text: string): boolean | string {
  return text === 'true' ? true : text === 'false' ? false : text;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
