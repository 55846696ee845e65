import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import type { Writable } from 'node:stream';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/**
 * A folder for server data that does not outlive us. A small shell waits for the end of a pipe that only this process
 * holds; when we are killed before we could tidy up, it removes the folder.
 */
export class WorkDir implements AsyncDisposable {
  readonly path: string;

  private constructor(path: string) {
    this.path = path;
  }

  static async create(prefix: string): Promise<WorkDir> {
    const path = await mkdtemp(join(tmpdir(), `${prefix}-`));
    // The sleep lets the servers die first (their death signal comes at the same moment as the end of the pipe).
    const keeper = spawn('sh', ['-c', 'cat >/dev/null; [ -e "$1" ] && sleep 1 && rm -rf "$1"', 'keeper', path], {
      detached: true,
      stdio: ['pipe', 'ignore', 'ignore'],
    });
    keeper.unref();
    (keeper.stdin as Writable & { unref(): void }).unref(); // a child's pipe is a socket in Node, though not in its types
    return new WorkDir(path);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.path, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  }
}
