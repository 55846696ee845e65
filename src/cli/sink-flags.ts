import { Option, type Command } from 'commander';
import type { SinkKind } from '../api/parts.ts';
import { CliError } from './cli-error.ts';
import { settingsOf, toNumber } from './flag-values.ts';

/** A flag as commander hands it over; one of `--no-...` is true where it was not given. */
export type FlagValue = string | readonly string[] | boolean | undefined;
export type Flags = Readonly<Record<string, FlagValue>>;

interface SinkFlag {
  readonly flags: string;
  readonly what: string;
  /** Where in the definition of the sink its value goes: `wait.replicas`. */
  readonly path: string;
  readonly as: 'text' | 'number' | 'settings';
}

/** A sink that is missing here does not compile. Of each the first flag says where the records go, and has to be given. */
const FLAGS: Readonly<Record<SinkKind, readonly SinkFlag[]>> = {
  kafka: [
    text('--topic <template>', 'topic', 'topic: a name, or a template with {table}, {stream}, {database}'),
    text('--delivery <kind>', 'delivery', 'exactly-once (the default) or at-least-once'),
    number('--partitions <n>', 'partitions', 'of topics that Spoor creates'),
    number('--replication-factor <n>', 'replicationFactor', 'of topics that Spoor creates'),
    text('--no-create-topics', 'createTopics', 'wait for a missing topic instead of creating it'),
    settings('--topic-config <name=value...>', 'topicConfig', 'settings of topics that Spoor creates for rows'),
    text('--compression <codec>', 'compression', 'none, gzip, snappy, lz4 or zstd'),
    text('--schema-topic <topic>', 'schemaTopic', 'topic of the schema changes'),
  ],
  redis: [
    text('--key <template>', 'key', 'stream key: a name, or a template with {table}, {stream}, {database}'),
    text('--layout <kind>', 'layout', 'extended (the default) or compact, as Debezium Server has them'),
    number('--shards <n>', 'shards', 'spread the rows of a table over so many stream keys'),
    number('--max-len <n>', 'maxLen', 'trim: how many entries a stream key keeps, about'),
    number('--min-id-age-ms <n>', 'minIdAgeMs', 'trim: how old an entry becomes'),
    number('--wait-replicas <n>', 'wait.replicas', 'how many replicas must have a record before it is saved'),
    number('--wait-timeout-ms <n>', 'wait.timeoutMs', 'of one question to them'),
    text('--durability <kind>', 'durability', 'durable (the default) or memory'),
    text('--schema-key <key>', 'schemaKey', 'stream key of the schema changes'),
  ],
  file: [
    text('--dir <folder>', 'dir', 'folder that is there: storage that all sidecars share'),
    number('--rotate-bytes <n>', 'rotateBytes', 'close a file that has so many bytes'),
    number('--rotate-seconds <n>', 'rotateSeconds', 'close a file after so many seconds'),
  ],
};

const KINDS = Object.keys(FLAGS) as SinkKind[];
const [DEFAULT_KIND] = KINDS as [SinkKind, ...SinkKind[]];
const NAMES: Readonly<Record<SinkKind, string>> = { kafka: 'Kafka', redis: 'Redis', file: 'Files' };

/** Adds `--sink` and the flags of each sink, which its help has apart. */
export function addSinkFlags(command: Command): Command {
  command.addOption(new Option('--sink <type>', `where the records go; ${DEFAULT_KIND} by default`).choices(KINDS));
  for (const kind of KINDS)
    for (const { flags, what } of FLAGS[kind])
      command.addOption(new Option(flags, what).helpGroup(`${NAMES[kind]} (--sink ${kind}):`));
  return command;
}

/** Whether any of them was given. */
export function hasSinkFlags(given: Flags): boolean {
  return given['sink'] !== undefined || KINDS.some((kind) => givenOf(kind, given).length > 0);
}

/** The flag that says where records go, where it is needed and was not given. */
export function missingPlace(given: Flags): string | null {
  const [place] = FLAGS[kindOf(given)] as [SinkFlag];
  return valueOf(place, given) === undefined ? longOf(place) : null;
}

/**
 * `sink` of a definition. What was not given is left out, so that the API's defaults hold, and judges the rest.
 * @throws {CliError} a flag is another sink's
 */
export function sinkOf(given: Flags): Record<string, unknown> {
  const kind = kindOf(given);
  const strangers = KINDS.filter((each) => each !== kind).flatMap((each) =>
    givenOf(each, given).map((flag) => strangerFault(kind, each, flag, given)),
  );
  if (strangers.length > 0) throw new CliError(2, strangers.join('\n'));
  const sink: Record<string, unknown> = { type: kind };
  for (const flag of givenOf(kind, given)) {
    const [option, part] = flag.path.split('.') as [string, string?];
    const value = readValue(flag, valueOf(flag, given)!);
    sink[option] = part === undefined ? value : { ...(sink[option] as object | undefined), [part]: value };
  }
  return sink;
}

function strangerFault(kind: SinkKind, its: SinkKind, flag: SinkFlag, given: Flags): string {
  const value = valueOf(flag, given);
  const got = value === false ? '' : ` ${JSON.stringify(value)}`;
  const asked = `--sink ${kind}${given['sink'] === undefined ? ' (the default)' : ''}`;
  const allowed = FLAGS[kind].map(longOf).join(', ');
  return `${longOf(flag)}: got${got} with ${asked}, and it goes with --sink ${its}; allowed: ${allowed}`;
}

function kindOf(given: Flags): SinkKind {
  return KINDS.find((kind) => kind === given['sink']) ?? DEFAULT_KIND;
}

function givenOf(kind: SinkKind, given: Flags): readonly SinkFlag[] {
  return FLAGS[kind].filter((flag) => valueOf(flag, given) !== undefined);
}

/** Undefined where it was not given. */
function valueOf({ flags }: SinkFlag, given: Flags): FlagValue {
  const option = new Option(flags);
  const value = given[option.attributeName()];
  return option.negate && value === true ? undefined : value;
}

function readValue({ as, ...flag }: SinkFlag, value: NonNullable<FlagValue>): unknown {
  if (as === 'number' && typeof value === 'string') return toNumber(value);
  if (as === 'settings' && typeof value === 'object') return Object.fromEntries(settingsOf(longOf(flag), value));
  return value;
}

function longOf({ flags }: Pick<SinkFlag, 'flags'>): string {
  return new Option(flags).long!;
}

function text(flags: string, path: string, what: string): SinkFlag {
  return { flags, what, path, as: 'text' };
}

function number(flags: string, path: string, what: string): SinkFlag {
  return { flags, what, path, as: 'number' };
}

function settings(flags: string, path: string, what: string): SinkFlag {
  return { flags, what, path, as: 'settings' };
}
