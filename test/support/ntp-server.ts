import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';

/** Seconds between 1900, where NTP begins to count, and 1970. */
const NTP_EPOCH = 2_208_988_800n;

/**
 * A time server on loopback that is not sure of its time: Kudu's own client (`--time_source=builtin`) takes its word, so
 * that COMMIT_WAIT writes are stamped that far ahead. @see RFC 5905, 7.3 (the packet), and kudu/clock/builtin_ntp.cc
 */
export class NtpServer implements Disposable {
  readonly #socket: Socket;

  private constructor(socket: Socket) {
    this.#socket = socket;
  }

  static async start(options: { readonly errorMs: number }): Promise<NtpServer> {
    const socket = createSocket('udp4');
    socket.bind(0, '127.0.0.1');
    await once(socket, 'listening');
    socket.unref();
    socket.on('message', (request, from) => {
      if (request.length < 48) return;
      const reply = Buffer.alloc(48);
      reply[0] = (4 << 3) | 4; // no leap second, version 4, server
      reply[1] = 2; // stratum
      reply[2] = request[2]!;
      reply.writeInt8(-20, 3); // precision: a microsecond
      reply.writeUInt32BE(Math.round((options.errorMs / 1000) * 65_536), 8); // root dispersion
      reply.write('LOCL', 12, 'latin1');
      const now = ntpNow();
      reply.writeBigUInt64BE(now - (1n << 32n), 16); // last set
      request.copy(reply, 24, 40, 48); // as the client sent it
      reply.writeBigUInt64BE(now, 32);
      reply.writeBigUInt64BE(now, 40);
      socket.send(reply, from.port, from.address);
    });
    return new NtpServer(socket);
  }

  /** Flags of a Kudu server that takes its time from here. */
  get flags(): readonly string[] {
    const { port } = this.#socket.address();
    return ['--time_source=builtin', `--builtin_ntp_servers=127.0.0.1:${port}`, '--builtin_ntp_poll_interval_ms=1000'];
  }

  [Symbol.dispose](): void {
    this.#socket.close();
  }
}

function ntpNow(): bigint {
  const micros = BigInt(Math.round((performance.timeOrigin + performance.now()) * 1000));
  const [seconds, rest] = [micros / 1_000_000n, micros % 1_000_000n];
  return ((seconds + NTP_EPOCH) << 32n) | ((rest << 32n) / 1_000_000n);
}
