import type { Command } from 'commander';
import * as z from 'zod';
import { sidecarView, streamView, type SidecarView, type StreamView, type TabletView } from '../api/shapes.ts';
import { pause } from '../util/pause.ts';
import { expectShape, type ApiClient } from './api-client.ts';
import type { CliContext } from './cli-context.ts';
import { CliError, UnavailableError } from './cli-error.ts';
import { LiveBlock } from './live-block.ts';
import { StopSignals } from './stop-signals.ts';
import { formatBytes, renderSidecars, renderTablets } from './stream-text.ts';
import { layoutFor, wrap, type Layout } from './text-style.ts';
import { printable } from './text-table.ts';
import { counted } from '../util/counted.ts';

const DEFAULT_INTERVAL_S = 2;
const MOST_INTERVAL_S = 86_400;

interface StatusFlags {
  readonly json?: boolean;
  readonly wide?: boolean;
  readonly watch?: boolean;
  readonly interval: string;
}

/** One look. */
interface Status {
  readonly streams: readonly StreamView[];
  readonly sidecars: readonly SidecarView[];
}

/** `spoor status`, once or again and again. */
export function addStatusCommand(
  command: Command,
  clientFor: (options: object) => ApiClient,
  context: CliContext,
): void {
  command
    .option('--watch', 'look again and again: in place on a terminal, else a line a look')
    .option('--interval <seconds>', 'how often, with --watch', String(DEFAULT_INTERVAL_S))
    .action(async (flags: StatusFlags) => {
      const intervalMs = intervalOf(flags.interval);
      const client = clientFor(flags);
      const ask = async (): Promise<unknown> => {
        const [streams, sidecars] = await Promise.all([
          client.call('GET', '/v1/streams'),
          client.call('GET', '/v1/sidecars'),
        ]);
        return { streams, sidecars };
      };
      if (flags.watch) await watch(ask, intervalMs, flags, context);
      else if (flags.json) context.out(`${JSON.stringify(await ask(), null, 2)}\n`);
      else context.out(renderStatus(statusOf(await ask()), layoutFor(context, flags)));
    });
}

function statusOf(answer: unknown): Status {
  return expectShape(z.object({ streams: z.array(streamView), sidecars: z.array(sidecarView) }), answer);
}

function renderStatus({ streams, sidecars }: Status, layout: Layout): string {
  return `${renderTablets(tabletsOf(streams), layout)}\n${renderSidecars(sidecars, layout)}`;
}

/** Until a signal, or until nobody reads any more. A sidecar that does not answer is asked again. */
async function watch(
  ask: () => Promise<unknown>,
  intervalMs: number,
  flags: StatusFlags,
  context: CliContext,
): Promise<void> {
  const { out, isRead = () => true, screen } = context;
  using stop = new StopSignals({ limitMs: intervalMs, onLimit: () => undefined, onSecond: () => process.exit(0) });
  const isWatched = (): boolean => !stop.signal.aborted && isRead();
  const block = flags.json ? null : (screen?.() ?? null) && new LiveBlock(out, () => screen!()!);
  let told: readonly string[] = [];
  while (isWatched()) {
    const at = new Date().toISOString();
    const answer = await lookOr(ask);
    if (!isWatched()) break;
    if (flags.json)
      out(
        `${JSON.stringify(answer instanceof Error ? { at, error: answer.message } : { at, ...(answer as object) })}\n`,
      );
    else if (block) block.show(liveLines(at, answer, flags, context));
    else told = tellPlainly(at, answer, told, out);
    await pause(intervalMs, stop.signal);
  }
  block?.keep();
}

function liveLines(at: string, answer: unknown, flags: StatusFlags, context: CliContext): readonly string[] {
  const layout = layoutFor(context, { wide: false });
  const head = `${at.slice(11, 19)} UTC, each ${flags.interval} s; Ctrl-C ends it`;
  if (answer instanceof Error)
    return [head, '', ...wrap(printable(answer.message), layout.columns).map((line) => layout.paint('red', line))];
  const status = statusOf(answer);
  return [head, ...wrap(summaryOf(status), layout.columns), '', ...renderStatus(status, layout).trimEnd().split('\n')];
}

/** A line a look, and below it what keeps tablets, where that is news. @returns what keeps them */
function tellPlainly(
  at: string,
  answer: unknown,
  told: readonly string[],
  out: (text: string) => void,
): readonly string[] {
  if (answer instanceof Error) {
    out(`${at} ${printable(answer.message)}\n`);
    return [];
  }
  const status = statusOf(answer);
  const troubles = tabletsOf(status.streams).flatMap(({ stream, tabletId, state, error }) =>
    error ? [`${stream} ${tabletId} ${state}: ${error.code}: ${printable(error.message)}`] : [],
  );
  const fresh = troubles.filter((trouble) => !told.includes(trouble));
  out([summaryOf(status), ...fresh].map((line) => `${at} ${line}\n`).join(''));
  return troubles;
}

/** `2 streams, 6 tablets: 5 running, 1 blocked; lag 12 ops, 0.4 s; 3.2 MiB held; 3 sidecars` */
function summaryOf({ streams, sidecars }: Status): string {
  const tablets = tabletsOf(streams);
  const states = new Map<string, number>();
  for (const { state } of tablets) states.set(state, (states.get(state) ?? 0) + 1);
  const lagOps = tablets.reduce((sum, tablet) => sum + (tablet.lagOps ?? 0), 0);
  const lagSeconds = Math.max(0, ...tablets.map((tablet) => tablet.lagSeconds ?? 0));
  // Several streams over one tablet hold one log.
  const held = new Map(tablets.map(({ tabletId, hold }) => [tabletId, hold?.bytes ?? 0]));
  const bytes = [...held.values()].reduce((sum, each) => sum + each, 0);
  const running = sidecars.filter(({ http }) => http !== '').length;
  const counts = [...states].map(([state, count]) => `${count} ${state}`).join(', ') || 'none';
  return [
    `${counted(streams.length, 'stream')}, ${counted(tablets.length, 'tablet')}: ${counts}`,
    `lag ${counted(lagOps, 'op')}, ${lagSeconds.toFixed(1)} s`,
    `${formatBytes(bytes)} held`,
    counted(running, 'sidecar'),
  ].join('; ');
}

function tabletsOf(streams: readonly StreamView[]): readonly TabletView[] {
  return streams.flatMap(({ tablets }) => tablets);
}

/** @returns an error where there is no answer at the moment */
async function lookOr(ask: () => Promise<unknown>): Promise<unknown> {
  try {
    return await ask();
  } catch (error) {
    if (error instanceof UnavailableError) return error;
    throw error;
  }
}

function intervalOf(text: string): number {
  const seconds = Number(text);
  if (/^\d+(?:\.\d+)?$/.test(text) && seconds >= 0.1 && seconds <= MOST_INTERVAL_S) return seconds * 1000;
  throw new CliError(2, `--interval: got ${JSON.stringify(text)}; allowed: seconds from 0.1 to ${MOST_INTERVAL_S}`);
}
