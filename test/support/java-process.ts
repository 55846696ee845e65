import { spawn, type ChildProcessByStdio } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';

const HEAD_BYTES = 9;
const OUTPUT = 0;
const DONE = 1;
const END_WITHIN_MS = 10_000;

/** A tool that runs. */
export interface JavaCall {
  /** Resolves when it has ended. @throws {Error} with what it says when it fails */
  readonly done: Promise<void>;
  /** Asks it to end. Resolves when it has, however; one that does not hear is left alone, and no longer waited for. */
  end(): Promise<void>;
}

interface OpenCall {
  readonly tool: string;
  readonly onOutput: (bytes: Buffer) => void;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/**
 * The JVM that runs the tools of test/java; how it is spoken to is told in Main.java. It keeps this process alive only while
 * a call is open, and ends with it.
 */
export class JavaProcess {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #calls = new Map<number, OpenCall>();
  #lastId = 0;
  #rest: Buffer = Buffer.alloc(0);
  #gone: Error | null = null;

  constructor(java: string, args: readonly string[]) {
    this.#child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', java, ...args], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.#child.stdout.on('data', (bytes: Buffer) => {
      this.#take(bytes);
    });
    this.#child.stdin.on('error', () => undefined); // told by the exit
    this.#child.once('error', (error) => {
      this.#ended(error);
    });
    this.#child.once('close', (code, signal) => {
      this.#ended(new Error(`the Java tools ended with ${String(code ?? signal)}`));
    });
    this.#keepAlive(false);
  }

  /** @param arguments_ `--name value` pairs of the tool */
  call(
    tool: string,
    arguments_: Readonly<Record<string, string | number | readonly string[]>>,
    onOutput: (bytes: Buffer) => void,
  ): JavaCall {
    if (this.#gone) throw this.#gone;
    const id = ++this.#lastId;
    const done = new Promise<void>((resolve, reject) => {
      this.#calls.set(id, { tool, onOutput, resolve, reject });
    });
    done.catch(() => undefined); // told to whoever waits for it
    this.#keepAlive(true);
    const pairs = Object.entries(arguments_).flatMap(([name, value]) => [`--${name}`, String(value)]);
    this.#child.stdin.write(`${[id, tool, ...pairs].join('\t')}\n`);
    return {
      done,
      end: async () => {
        if (!this.#calls.has(id)) return;
        this.#child.stdin.write(`${id}\n`);
        const late = setTimeout(() => {
          this.#close(id)?.reject(new Error(`java tool ${tool} does not end`));
        }, END_WITHIN_MS);
        await done.catch(() => undefined);
        clearTimeout(late);
      },
    };
  }

  #take(bytes: Buffer): void {
    const all = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    let at = 0;
    while (all.length - at >= HEAD_BYTES) {
      const end = at + HEAD_BYTES + all.readInt32BE(at + 5);
      if (all.length < end) break;
      this.#frame(all.readInt32BE(at), all[at + 4]!, all.subarray(at + HEAD_BYTES, end));
      at = end;
    }
    this.#rest = all.subarray(at);
  }

  #frame(id: number, kind: number, bytes: Buffer): void {
    const call = this.#calls.get(id);
    if (!call) return;
    if (kind === OUTPUT) {
      call.onOutput(bytes);
      return;
    }
    this.#close(id);
    if (kind === DONE) call.resolve();
    else call.reject(new Error(`java tool ${call.tool} failed:\n${bytes.toString()}`));
  }

  #close(id: number): OpenCall | undefined {
    const call = this.#calls.get(id);
    this.#calls.delete(id);
    if (this.#calls.size === 0) this.#keepAlive(false);
    return call;
  }

  #ended(why: Error): void {
    this.#gone ??= why;
    for (const { reject } of this.#calls.values()) reject(why);
    this.#calls.clear();
  }

  #keepAlive(on: boolean): void {
    for (const handle of [this.#child, this.#child.stdin, this.#child.stdout] as unknown as NodeJS.Timeout[])
      if (on) handle.ref();
      else handle.unref();
  }
}
