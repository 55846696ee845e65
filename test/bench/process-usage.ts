import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

/** Clock ticks a second that /proc counts CPU time in; 100 on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;

/** CPU seconds that a process has used so far, user and system. */
export async function cpuSeconds(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  // The name in brackets may hold spaces; what follows it is counted from field 3 on.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

/** Watches processes for a while: percent of a core that each uses. */
export async function cpuPercent(pids: readonly number[], seconds: number): Promise<number[]> {
  const before = await Promise.all(pids.map(cpuSeconds));
  await sleep(seconds * 1000);
  return Promise.all(pids.map(async (pid, i) => (((await cpuSeconds(pid)) - before[i]!) / seconds) * 100));
}

/** The most memory a process has had resident, in MiB. */
export async function peakMemoryMib(pid: number): Promise<number> {
  return statusMib(pid, 'VmHWM');
}

/** The memory a process has resident now, in MiB. */
export async function memoryMib(pid: number): Promise<number> {
  return statusMib(pid, 'VmRSS');
}

async function statusMib(pid: number, name: 'VmHWM' | 'VmRSS'): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1] ?? 0) / 1024;
}
