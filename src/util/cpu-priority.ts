import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { setPriority } from 'node:os';

/**
 * Makes this process stand back for others of the machine when the CPU is short; while there is enough for all it runs
 * as fast as ever. Where the system has no such thing, nothing changes.
 *
 * Linux keeps a nice value for each thread, and where autogroups are on it weighs sessions instead: a process that leads
 * its own (a service does) sets that one too. Source: sched(7), "The autogroup feature".
 * @param nice 0, as any other, to 19, the last
 */
export function standBack(nice: number): void {
  if (nice === 0) return;
  try {
    for (const thread of readdirSync('/proc/self/task')) setPriority(Number(thread), nice);
    if (leadsSession()) writeFileSync('/proc/self/autogroup', String(nice));
  } catch {
    // no Linux, or one without autogroups: what could be set is set
  }
}

/** Otherwise the autogroup is somebody else's as well: of the shell that started us. */
function leadsSession(): boolean {
  const stat = readFileSync('/proc/self/stat', 'latin1');
  // The name in brackets may hold spaces; what follows it is counted from field 3 on, and the session is field 6.
  return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[3]) === process.pid;
}
