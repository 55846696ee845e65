import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { setPriority } from 'node:os';

/** `refused`: this process may not; `again`: not now (the system takes few such changes a second). */
export type NiceResult = 'done' | 'refused' | 'again';

/**
 * Gives this process a nice value: 19 stands back for all others of the machine when the CPU is short, 0 for none; while
 * there is enough for all it runs as fast as ever. Where the system has no such thing, nothing changes.
 *
 * Linux keeps a nice value for each thread, and where autogroups are on it weighs sessions instead: a process that leads
 * its own (a service does) sets that one too. Anybody may raise a thread's value; to lower it again takes CAP_SYS_NICE, or
 * a limit (RLIMIT_NICE) that allows it. Source: sched(7), "The autogroup feature"; setpriority(2).
 * @param nice 0, as any other, to 19, the last
 */
export function setNice(nice: number): NiceResult {
  const results: NiceResult[] = [];
  const attempt = (change: () => void): void => {
    results.push(resultOf(change));
  };
  for (const thread of listThreads())
    attempt(() => {
      setPriority(thread, nice);
    });
  if (results.length > 0 && leadsSession())
    attempt(() => {
      writeFileSync('/proc/self/autogroup', String(nice));
    });
  return (['refused', 'again'] as const).find((result) => results.includes(result)) ?? 'done';
}

function listThreads(): number[] {
  try {
    return readdirSync('/proc/self/task').map(Number);
  } catch {
    return []; // no Linux
  }
}

/** Otherwise the autogroup is somebody else's as well: of the shell that started us. */
function leadsSession(): boolean {
  const stat = readFileSync('/proc/self/stat', 'latin1');
  // The name in brackets may hold spaces; what follows it is counted from field 3 on, and the session is field 6.
  return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[3]) === process.pid;
}

function resultOf(change: () => void): NiceResult {
  try {
    change();
    return 'done';
  } catch (error) {
    const code = codeOf(error);
    if (code === 'EAGAIN') return 'again';
    return code === 'EACCES' || code === 'EPERM' ? 'refused' : 'done'; // a thread that has ended, a Linux without autogroups
  }
}

/** os.setPriority hides the code in `info`. */
function codeOf(error: unknown): unknown {
  if (!(error instanceof Error)) return undefined;
  if ('info' in error && typeof error.info === 'object' && error.info !== null && 'code' in error.info)
    return error.info.code;
  return 'code' in error ? error.code : undefined;
}
