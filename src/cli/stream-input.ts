import { readFileSync } from 'node:fs';
import { CliError } from './cli-error.ts';

/** What `spoor streams create` takes instead of a file. The two of `--no-...` are true where they were not given. */
export interface CreateFlags {
  readonly name?: string;
  readonly table?: string[];
  readonly topic?: string;
  readonly start?: string;
  readonly delivery?: string;
  readonly partitions?: string;
  readonly replicationFactor?: string;
  readonly createTopics?: boolean;
  readonly topicConfig?: string[];
  readonly compression?: string;
  readonly schemaTopic?: string;
  readonly format?: string;
  readonly formatOption?: string[];
  readonly images?: string;
  readonly tombstones?: boolean;
  readonly resolvedIntervalMs?: string;
  readonly copyRowsPerSecond?: string;
  readonly paused?: boolean;
}

/** What `spoor streams change` takes instead of a file. */
export interface ChangeFlags {
  readonly addTable?: string[];
  readonly removeTable?: string[];
  readonly copyRowsPerSecond?: string;
}

const FLAGS = [
  'name',
  'table',
  'topic',
  'start',
  'delivery',
  'partitions',
  'replicationFactor',
  'createTopics',
  'topicConfig',
  'compression',
  'schemaTopic',
  'format',
  'formatOption',
  'images',
  'tombstones',
  'resolvedIntervalMs',
  'copyRowsPerSecond',
  'paused',
] as const satisfies (keyof CreateFlags)[];

/** The body for POST /v1/streams: from a JSON file, from standard input (`-`), or from flags. The API judges it. */
export function streamInput(file: string | undefined, flags: CreateFlags, readStdin: () => string): unknown {
  if (file === undefined) return fromFlags(flags);
  if (FLAGS.some((flag) => flags[flag] !== undefined && (flag === 'paused' || flags[flag] !== true)))
    throw new CliError(2, 'give a file or flags, not both');
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
  return withoutUndefined({ tables, copyRowsPerSecond: toNumber(copyRowsPerSecond) });
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
  const missing = (['name', 'table', 'topic'] as const).filter((key) => flags[key] === undefined);
  if (missing.length > 0)
    throw new CliError(
      2,
      `give a JSON file, - for standard input, or flags; missing: ${missing.map((key) => `--${key}`).join(', ')}`,
    );
  const {
    name,
    table,
    topic,
    start,
    delivery,
    partitions,
    replicationFactor,
    createTopics,
    topicConfig,
    compression,
    schemaTopic,
    format,
    formatOption,
    images,
    tombstones,
    resolvedIntervalMs,
    copyRowsPerSecond,
    paused,
  } = flags;
  return withoutUndefined({
    name,
    tables: table,
    start,
    sink: withoutUndefined({
      type: 'kafka',
      topic,
      delivery,
      partitions: toNumber(partitions),
      replicationFactor: toNumber(replicationFactor),
      createTopics: createTopics === false ? false : undefined,
      topicConfig: topicConfig && Object.fromEntries(settingsOf('--topic-config', topicConfig)),
      compression,
      schemaTopic,
    }),
    format: formatOf(format, formatOption),
    images,
    tombstones: tombstones === false ? false : undefined,
    resolved: resolvedIntervalMs === undefined ? undefined : { intervalMs: toNumber(resolvedIntervalMs) },
    copyRowsPerSecond: toNumber(copyRowsPerSecond),
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

/** @param given `name=value` each */
function settingsOf(flag: string, given: readonly string[]): (readonly [name: string, value: string])[] {
  return given.map((setting) => {
    const at = setting.indexOf('=');
    if (at < 1) throw new CliError(2, `${flag} is given as <name>=<value>, not ${JSON.stringify(setting)}`);
    return [setting.slice(0, at), setting.slice(at + 1)] as const;
  });
}

function toBoolean(text: string): boolean | string {
  return text === 'true' ? true : text === 'false' ? false : text;
}

/** Text that is no number goes to the API as it is, whose answer names the field and what is allowed. */
function toNumber(text: string | undefined): number | string | undefined {
  return text !== undefined && /^-?\d+$/.test(text) ? Number(text) : text;
}

function withoutUndefined(fields: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
