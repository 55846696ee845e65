import { newestRecords, streamView, traceView } from '../api/shapes.ts';
import { expectShape } from './api-client.ts';
import type { ApplyParts } from './apply-commands.ts';
import { CliError } from './cli-error.ts';
import { renderRecords, renderTrace } from './record-text.ts';
import { renderStream } from './stream-text.ts';

interface RewindOptions {
  readonly to: string;
  readonly table?: string[];
  readonly tablet?: string[];
  readonly json?: boolean;
  readonly wide?: boolean;
}

interface RecordsOptions {
  readonly last: string;
  readonly table?: string;
  readonly json?: boolean;
}

interface SkipOptions {
  readonly tablet: string;
  readonly opid: string;
  readonly json?: boolean;
  readonly wide?: boolean;
}

const AGO = /^(\d{1,6})(s|m|h|d)$/;
const UNIT_MS = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** What a person looks at, and does to single tablets of a stream by hand: records, trace, rewind, skip. */
export function addTabletCommands({ streams, apiCommand, clientFor, layout, streamPath, context }: ApplyParts): void {
  const { out: print } = context;
  const show = (answer: unknown, options: { readonly json?: boolean; readonly wide?: boolean }): void => {
    print(options.json ? toJson(answer) : renderStream(expectShape(streamView, answer), layout(options)));
  };

  apiCommand(streams, 'records', 'show the newest records of a stream, as its sink has them')
    .argument('<stream>', 'name of the stream')
    .option('--last <n>', 'how many, at most 200', '20')
    .option('--table <name>', 'only of this table')
    .action(async (name: string, options: RecordsOptions) => {
      const { last, table, json } = options;
      const query = new URLSearchParams({ last, ...(table !== undefined && { table }) });
      const answer = await clientFor(options).call('GET', `${streamPath(name)}/records?${query.toString()}`);
      print(json ? toJson(answer) : renderRecords(expectShape(newestRecords, answer)));
    });

  apiCommand(streams, 'trace', 'show the way of one record: log, sink, marker')
    .argument('<stream>', 'name of the stream')
    .argument('<position>', 'its spoor.pos: <tablet>/<term>.<index>.<row>')
    .action(async (name: string, position: string, options: { readonly json?: boolean }) => {
      const query = new URLSearchParams({ position });
      const answer = await clientFor(options).call('GET', `${streamPath(name)}/trace?${query.toString()}`);
      print(options.json ? toJson(answer) : renderTrace(expectShape(traceView, answer)));
    });

  apiCommand(streams, 'rewind', 'ship again what was shipped, from a time or an operation on')
    .argument('<stream>', 'name of the stream')
    .requiredOption('--to <where>', 'a time (2026-01-31T12:00:00Z), so long ago (90s, 30m, 2h, 1d), or term.index')
    .option('--table <name...>', 'only these tables')
    .option('--tablet <id...>', 'only these tablets; with term.index exactly one')
    .action(async (name: string, options: RewindOptions) => {
      const { to, table, tablet } = options;
      const body = { to: timeOf(to), ...(table && { tables: table }), ...(tablet && { tablets: tablet }) };
      show(await clientFor(options).call('POST', `${streamPath(name)}/rewind`, body), options);
    });

  apiCommand(streams, 'skip', 'leave out the rows of an operation that keeps a tablet from being shipped')
    .argument('<stream>', 'name of the stream')
    .requiredOption('--tablet <id>', 'the tablet')
    .requiredOption('--opid <term.index>', 'the operation, as the error of the tablet names it')
    .action(async (name: string, options: SkipOptions) => {
      const { tablet, opid } = options;
      show(await clientFor(options).call('POST', `${streamPath(name)}/skip`, { tablet, opId: opid }), options);
    });
}

function toJson(answer: unknown): string {
  return `${JSON.stringify(answer, null, 2)}\n`;
}

/** What the API takes: it knows no "ago". */
function timeOf(to: string): string {
  const [, count, unit] = AGO.exec(to) ?? [];
  if (count === undefined) return to;
  const at = Date.now() - Number(count) * UNIT_MS[unit as keyof typeof UNIT_MS];
  if (at < 0) throw new CliError(2, `--to ${to} is before 1970`);
  return new Date(at).toISOString();
}
