import { setTimeout as sleep } from 'node:timers/promises';
import { watchEvents } from '../support/watch-events.ts';
import type { Servers } from './bench-cluster.ts';
import { cpuPercent } from './process-usage.ts';

/** Percent of a core. */
export interface OpenPage {
  /** Of the sidecar that the page is from. */
  readonly without: number;
  readonly withPage: number;
  /** Of the others together, which it asks. */
  readonly othersWithout: number;
  readonly othersWithPage: number;
}

const ROUNDS = 3;
/** The history and the whole state are told once. */
const SETTLE_MS = 3_000;

/** What an open page costs the sidecars: with and without in turn, so that whatever else goes on meets both. */
export async function measureOpenPage({ sidecars }: Servers, seconds: number): Promise<readonly OpenPage[]> {
  const pids = sidecars.map(({ pid }) => pid);
  const rounds: OpenPage[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const [without, ...othersWithout] = await cpuPercent(pids, seconds);
    await using events = await watchEvents(sidecars[0]!.url);
    await events.state();
    await sleep(SETTLE_MS);
    const [withPage, ...othersWithPage] = await cpuPercent(pids, seconds);
    const sum = (all: readonly number[]): number => all.reduce((a, b) => a + b, 0);
    rounds.push({
      without: without!,
      withPage: withPage!,
      othersWithout: sum(othersWithout),
      othersWithPage: sum(othersWithPage),
    });
  }
  return rounds;
}
