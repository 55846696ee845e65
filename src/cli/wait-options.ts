import type { Command } from 'commander';
import { resyncedStream, streamView } from '../api/shapes.ts';
import { expectShape, type ApiClient } from './api-client.ts';
import type { CliContext } from './cli-context.ts';
import { CliError } from './cli-error.ts';
import { awaitStream, RUNS, type StreamGoal } from './wait-for-stream.ts';

const MOST_TIMEOUT_S = 604_800;

/** Of commands that can wait for what they have begun. */
export interface WaitFlags {
  readonly wait?: boolean;
  readonly timeout?: string;
  readonly table?: readonly string[];
  readonly tablet?: readonly string[];
}

export function addWaitOptions(command: Command): Command {
  return command
    .option('--wait', 'until every tablet runs and every copy is over, with how far it is')
    .option('--timeout <seconds>', 'how long, with --wait (default: as long as it takes); then exit code 1');
}

/** A wait that was asked for. */
export interface AskedWait {
  readonly goal: StreamGoal;
  /** Null for as long as it takes. */
  readonly timeoutMs: number | null;
}

/**
 * @param what `run`: every tablet runs. `copy`: those that the flags name, or all, have been copied before that
 * @returns null where none was asked for
 * @throws {CliError} it was asked for wrongly
 */
export function askedWait(what: 'run' | 'copy', flags: WaitFlags): AskedWait | null {
  const timeoutMs = timeoutOf(flags);
  return flags.wait ? { goal: what === 'run' ? RUNS : copiesOf(flags), timeoutMs } : null;
}

/** The answer of a command that has begun something; where that is waited for, the stream when it is over. */
export async function waited(
  answer: unknown,
  asked: AskedWait | null,
  { client, context }: { readonly client: ApiClient; readonly context: CliContext },
): Promise<unknown> {
  if (asked === null) return answer;
  const { name, resync } = expectShape(resyncedStream, answer);
  const look = async () => expectShape(streamView, await client.call('GET', `/v1/streams/${encodeURIComponent(name)}`));
  return awaitStream({ look, ...asked, goal: { ...asked.goal, resync }, context });
}

function copiesOf({ table, tablet }: WaitFlags): StreamGoal {
  const all = table === undefined && tablet === undefined;
  return {
    copies: (view) => all || (table?.includes(view.table) ?? false) || (tablet?.includes(view.tabletId) ?? false),
  };
}

function timeoutOf({ wait, timeout }: WaitFlags): number | null {
  if (timeout === undefined) return null;
  if (!wait) throw new CliError(2, '--timeout goes with --wait');
  const seconds = Number(timeout);
  if (/^\d+$/.test(timeout) && seconds > 0 && seconds <= MOST_TIMEOUT_S) return seconds * 1000;
  throw new CliError(
    2,
    `--timeout: got ${JSON.stringify(timeout)}; allowed: a whole number from 1 to ${MOST_TIMEOUT_S}`,
  );
}
