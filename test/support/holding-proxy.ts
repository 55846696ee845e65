import { AnswerProxy, type OnRequest } from './answer-proxy.ts';

/** A TCP proxy on loopback in front of a Redis, which what is asked passes command by command. */
export class HoldingProxy extends AnswerProxy {
  /** Asked with every command: whether it never gets there, nor what its connection asks behind it. */
  holds: (words: readonly Buffer[]) => boolean = () => false;
  /** So many connections were held. */
  held = 0;

  private constructor(port: number) {
    super(
      { host: '127.0.0.1', port },
      () => (bytes, client) => {
        client.write(bytes);
      },
      () => this.#holding(),
    );
  }

  static async start(port: number): Promise<HoldingProxy> {
    return new HoldingProxy(port).listen();
  }

  #holding(): OnRequest {
    let rest = Buffer.alloc(0);
    let isHeld = false;
    return (bytes, server) => {
      rest = Buffer.concat([rest, bytes]);
      for (let command = firstCommand(rest); command !== null && !isHeld; command = firstCommand(rest)) {
        if (this.holds(command.words)) {
          isHeld = true;
          this.held++;
          return;
        }
        server.write(rest.subarray(0, command.length));
        rest = rest.subarray(command.length);
      }
    };
  }
}

/** Null where it is not whole. Source: redis.io, RESP: `*<words>\r\n`, then for each `$<bytes>\r\n<bytes>\r\n`. */
function firstCommand(bytes: Buffer): { readonly words: readonly Buffer[]; readonly length: number } | null {
  let at = 0;
  const header = (): number | null => {
    const end = bytes.indexOf('\r\n', at);
    if (end < 0) return null;
    const count = Number(bytes.toString('latin1', at + 1, end));
    at = end + 2;
    return count;
  };
  const count = header();
  if (count === null) return null;
  const words: Buffer[] = [];
  while (words.length < count) {
    const length = header();
    if (length === null || at + length + 2 > bytes.length) return null;
    words.push(bytes.subarray(at, at + length));
    at += length + 2;
  }
  return { words, length: at };
}
