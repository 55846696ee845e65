import { readdir, readFile } from 'node:fs/promises';

/** Clock ticks a second that /proc counts CPU time in; 100 on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;
const SAMPLE_EVERY_MS = 1_000;

/** What a process of the tests is, in the order in which a command line is looked at. */
const KINDS: readonly (readonly [kind: string, of: RegExp])[] = [
  ['Kudu servers', /kudu-(master|tserver)/],
  ['Kudu tools', /\bbin\/kudu\b|spoor-tools|spoor\.tools/],
  ['Kafka', /kafka\.(Kafka|tools)/],
  ['Spoor', /cli\/main\.[jt]s/],
  ['tests', /\bnode\b/],
];

interface ProcessUsage {
  readonly kind: string;
  seconds: number;
}

/**
 * CPU seconds that the descendants of this process use, by kind. They are looked at once a second, so the last second of
 * each is missed, and a process that lives for less is not seen.
 */
export class CpuUsage implements Disposable {
  readonly #seen = new Map<string, ProcessUsage>();
  readonly #timer: NodeJS.Timeout;
  #looking = false;

  constructor() {
    this.#timer = setInterval(() => void this.#look(), SAMPLE_EVERY_MS);
    this.#timer.unref();
  }

  /** Seconds so far, the most first. */
  byKind(): ReadonlyMap<string, number> {
    const sums = new Map<string, number>();
    for (const { kind, seconds } of this.#seen.values()) sums.set(kind, (sums.get(kind) ?? 0) + seconds);
    return new Map([...sums].sort(([, a], [, b]) => b - a));
  }

  async #look(): Promise<void> {
    if (this.#looking) return;
    this.#looking = true;
    try {
      const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
      const stats = new Map<number, { parent: number; seconds: number; started: string }>();
      for (const pid of pids) {
        const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => null); // it may have ended by now
        if (stat === null) continue;
        // The name in brackets may hold spaces; what follows it is counted from field 3 on.
        const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
        const seconds = (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
        stats.set(Number(pid), { parent: Number(fields[1]), seconds, started: fields[19] ?? '' });
      }
      for (const [pid, { seconds, started }] of stats) {
        if (!isDescendant(pid, stats)) continue;
        const key = `${pid}/${started}`;
        const known = this.#seen.get(key);
        if (known) known.seconds = seconds;
        else this.#seen.set(key, { kind: await kindOf(pid), seconds });
      }
    } finally {
      this.#looking = false;
    }
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}

function isDescendant(pid: number, stats: ReadonlyMap<number, { parent: number }>): boolean {
  for (let parent = stats.get(pid)?.parent; parent !== undefined; parent = stats.get(parent)?.parent)
    if (parent === process.pid) return true;
  return false;
}

async function kindOf(pid: number): Promise<string> {
  const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
  return KINDS.find(([, pattern]) => pattern.test(command))?.[0] ?? 'other';
}
