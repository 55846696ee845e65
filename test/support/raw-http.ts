import { connect, type Socket } from 'node:net';
import { connect as connectTls, type ConnectionOptions } from 'node:tls';

/** Where bytes are sent, and from which address of this machine. */
export interface RawTarget {
  readonly host: string;
  readonly port: number;
  /** An address of 127.0.0.0/8 to be told apart by. */
  readonly from?: string;
  /** By TLS, with these options. */
  readonly tls?: ConnectionOptions;
}

export interface RawAnswer {
  /** Null where the connection ended, or nothing came, without an answer. */
  readonly status: number | null;
  readonly head: string;
  readonly body: string;
  readonly text: string;
  /** Whether the server ended the connection. */
  readonly isCut: boolean;
}

/** A piece of what is sent: bytes, or milliseconds to wait before the next. */
export type RawPiece = string | Buffer | number;

/**
 * Sends bytes as they are, and takes what comes until the server ends the connection or nothing more comes for `quietMs`.
 * That the connection breaks is no error here: it is one of the answers.
 */
export async function sendRaw(target: RawTarget, pieces: readonly RawPiece[], quietMs = 15_000): Promise<RawAnswer> {
  const socket = await open(target).catch(() => null);
  if (socket === null) return parse('', true);
  const chunks: Buffer[] = [];
  let isCut = false;
  const ended = new Promise<void>((resolve) => {
    socket.setTimeout(quietMs, resolve);
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    const cut = (): void => {
      isCut = true;
      resolve();
    };
    socket.on('end', cut);
    socket.on('error', cut);
    socket.on('close', cut);
  });
  await Promise.race([ended, write(socket, pieces)]);
  await ended;
  socket.destroy();
  return parse(Buffer.concat(chunks).toString('latin1'), isCut);
}

async function write(socket: Socket, pieces: readonly RawPiece[]): Promise<void> {
  for (const piece of pieces) {
    if (socket.destroyed) return;
    if (typeof piece === 'number') await new Promise((resolve) => setTimeout(resolve, piece));
    else socket.write(typeof piece === 'string' ? Buffer.from(piece, 'latin1') : piece);
  }
}

function open({ host, port, from, tls }: RawTarget): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const plain = connect({ host, port, ...(from !== undefined && { localAddress: from }) });
    plain.once('error', reject);
    if (!tls) {
      plain.once('connect', () => {
        resolve(plain);
      });
      return;
    }
    plain.once('connect', () => {
      const secure = connectTls({ ...tls, socket: plain });
      secure.once('error', reject);
      secure.once('close', reject);
      secure.once('secureConnect', () => {
        resolve(secure);
      });
    });
  });
}

function parse(text: string, isCut: boolean): RawAnswer {
  const final = text.replace(/^(?:HTTP\/1\.1 1\d\d [^\r]*\r\n(?:[^\r]+\r\n)*\r\n)+/, '');
  const end = final.indexOf('\r\n\r\n');
  const status = /^HTTP\/1\.1 (\d{3}) /.exec(final)?.[1];
  const head = final.slice(0, Math.max(0, end)).toLowerCase();
  // Where more than one answer came, the first is looked at.
  const length = /^content-length: (\d+)/m.exec(head)?.[1];
  return {
    status: status === undefined ? null : Number(status),
    head,
    body: end < 0 ? '' : final.slice(end + 4, length === undefined ? undefined : end + 4 + Number(length)),
    text,
    isCut,
  };
}
