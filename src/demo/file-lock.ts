import { spawn } from 'node:child_process';
import { once } from 'node:events';

/**
 * Runs `work` while no other process holds the lock of that file. The kernel keeps the lock, through `flock`
 * (util-linux), so it is let go even when this process is killed.
 */
export async function withFileLock<T>(path: string, work: () => Promise<T>): Promise<T> {
  const holder = spawn('flock', [path, 'sh', '-c', 'echo locked; cat'], { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = once(holder, 'close');
  const locked = await Promise.race([once(holder.stdout, 'data').then(() => true), ended.then(() => false)]);
  if (!locked) throw new Error(`cannot lock ${path}`);
  try {
    return await work();
  } finally {
    holder.stdin.end();
    await ended;
  }
}
