import assert from 'node:assert/strict';
import { form } from '../../support/forms.ts';
import { Random } from '../../support/random.ts';
import { ShiftedClock } from '../shifted-clock.ts';
import { isOfKind } from '../sink-checks.ts';
import type { SinkCase, SinkKit } from '../sink-kit.ts';
import { assertShipped, outcomeOf, Sidecar, TabletLog } from '../sink-sidecar.ts';

/** Few where a store takes its time. */
const SCHEDULES = form({ quick: 10, slow: 1 }, { quick: 100, slow: 30 });
const STEPS = form(60, 150);
const TABLETS = 3;
const HOUR_MS = 3_600_000;

/** What the suite knows of a tablet: how far it was told that it is written, and how far it may be. */
interface Known {
  readonly log: TabletLog;
  written: number;
  asked: number;
  /** Who opened it last, and since then was neither fenced nor killed. */
  holder: Sidecar | null;
}

/** Any order of these, held against what must be in the target. Its seed is in the message of what fails. */
export const SCHEDULE_CASES: readonly SinkCase[] = [
  {
    name: 'keeps its promises in any order of openings, writes, lost answers, deaths, old writers, outages and clocks that jump',
    run: async (kit) => {
      const first = Number(process.env['SPOOR_SINK_SEED'] ?? Date.now() % 1_000_000);
      const count = kit.promises.quickOutage ? SCHEDULES.quick : SCHEDULES.slow;
      for (let seed = first; seed < first + count; seed++)
        try {
          await new Schedule(kit, seed).run();
        } catch (error) {
          const why = error instanceof Error ? error.message : String(error);
          throw new assert.AssertionError({ message: `with SPOOR_SINK_SEED=${seed}: ${why}` });
        }
    },
  },
];

class Schedule {
  readonly #kit: SinkKit;
  readonly #stream: string;
  readonly #random: Random;
  readonly #tablets: readonly Known[];
  readonly #sidecars: Sidecar[];
  readonly #trail: string[] = [];

  constructor(kit: SinkKit, seed: number) {
    this.#kit = kit;
    this.#stream = kit.freshStream();
    this.#random = new Random(seed);
    this.#tablets = Array.from({ length: TABLETS }, (_, i) => ({
      log: new TabletLog(this.#stream, i),
      written: 0,
      asked: 0,
      holder: null,
    }));
    this.#sidecars = [new Sidecar(kit, this.#stream), new Sidecar(kit, this.#stream)];
  }

  async run(): Promise<void> {
    using clock = new ShiftedClock();
    try {
      for (let step = 0; step < STEPS; step++) await this.#step(clock);
      for (const known of this.#tablets) {
        const sidecar = this.#sidecars[0]!;
        await this.#open(sidecar, known);
        known.asked = Math.max(known.asked, known.written) + 1;
        await sidecar.ship(known.log, known.asked);
      }
      await assertShipped(
        this.#kit,
        this.#stream,
        this.#tablets.map(({ log, asked }) => [log, asked] as const),
      );
    } catch (error) {
      const why = error instanceof Error ? (error.stack ?? error.message) : String(error);
      throw new Error(`${why}\nafter ${this.#trail.slice(-25).join(', ')}`, { cause: error });
    } finally {
      await this.#kit.closeDead();
    }
  }

  async #step(clock: ShiftedClock): Promise<void> {
    const number = this.#random.next(this.#sidecars.length);
    const known = this.#tablets[this.#random.next(TABLETS)]!;
    const sidecar = this.#sidecars[number]!;
    const where = `${number}/${this.#tablets.indexOf(known)}`;
    const what = this.#random.next(20);
    if (what < 3 || (what < 14 && !sidecar.has(known.log))) {
      this.#trail.push(`open ${where}`);
      await this.#open(sidecar, known);
    } else if (what < 14) {
      const loses = this.#kit.sut.loseAnswer !== undefined && this.#random.next(5) === 0 && known.holder === sidecar;
      this.#trail.push(`${loses ? 'write, and lose the answer' : 'write'} ${where}`);
      if (loses) this.#kit.sut.loseAnswer!(this.#stream);
      await this.#write(sidecar, known, loses);
    } else if (what < 16) {
      this.#trail.push(`kill ${number}`);
      await sidecar.kill();
      for (const one of this.#tablets) if (one.holder === sidecar) one.holder = null;
      this.#sidecars[number] = new Sidecar(this.#kit, this.#stream);
    } else if (what < 18) {
      clock.offsetMs = (this.#random.next(5) - 2) * HOUR_MS;
      this.#trail.push(`clock ${clock.offsetMs / HOUR_MS} h`);
    } else if (this.#kit.promises.quickOutage) {
      this.#trail.push(`outage ${where}`);
      await this.#kit.sut.duringOutage(async () => {
        if (sidecar.has(known.log)) await this.#write(sidecar, known, true);
      });
    }
  }

  async #open(sidecar: Sidecar, known: Known): Promise<void> {
    const position = await sidecar.open(known.log);
    const index = Number(position?.opId.index ?? 0n);
    known.holder = sidecar;
    assert.ok(index <= known.asked, `tablet says ${index}, and nobody wrote behind ${known.asked}`);
    if (!this.#kit.promises.exactlyOnce) return;
    assert.ok(index >= known.written, `tablet says ${index}, and ${known.written} was written`);
    known.written = index;
  }

  async #write(sidecar: Sidecar, known: Known, mayFail: boolean): Promise<void> {
    const last = sidecar.indexOf(known.log) + 1 + this.#random.next(4);
    const isHolder = known.holder === sidecar;
    known.asked = Math.max(known.asked, last);
    const outcome = await outcomeOf(sidecar.write(known.log, last));
    if (outcome === 'written') {
      if (this.#kit.promises.exactlyOnce) assert.ok(isHolder, 'an old writer was not fenced');
      if (isHolder) known.written = Math.max(known.written, last);
      return;
    }
    this.#trail.push(outcome.kind);
    if (isHolder) {
      assert.ok(mayFail && isOfKind(outcome, 'unavailable'), outcome.message);
      known.holder = null;
    } else assert.ok(outcome.kind !== 'refused', outcome.message);
    await sidecar.close(known.log);
  }
}
