import type { ConnectionPool } from 'kafkajs/src/cluster/connectionPoolBuilder.js';
import type { Api } from './api.ts';

/** Size, API, version, correlation id and the client id's length: what stands before the client id. */
const HEAD_BYTES = 14;

/**
 * Sends one request over a connection of kafkajs, and answers the bytes of what comes back. kafkajs connects, and tells
 * whose an answer is; head and body go to the socket as they are, since it would copy every request twice, into memory
 * that it clears first (kafkajs 2.2.4, protocol/request.js and encoder.js).
 * Source: kafka.apache.org/protocol, Request Header v1.
 */
export async function sendFramed(
  pool: ConnectionPool,
  { key, version, name }: Pick<Api<never, unknown>, 'key' | 'version' | 'name'>,
  body: Buffer,
): Promise<Buffer> {
  const connection = await pool.getConnectionByRequest({ request: { apiKey: key } });
  if (!connection.isAuthenticated()) await connection.authenticate();
  connection.failIfNotConnected();
  const correlationId = connection.nextCorrelationId();
  const head = headOf(key, version, correlationId, connection.clientId, body.length);
  const { payload } = await new Promise<{ readonly payload: Buffer }>((resolve, reject) => {
    connection.requestQueue.push({
      entry: { apiKey: key, apiName: name, apiVersion: version, correlationId, resolve, reject },
      expectResponse: true,
      requestTimeout: null,
      sendRequest: () => {
        const { socket } = connection;
        socket.cork();
        socket.write(head);
        socket.write(body);
        socket.uncork();
      },
    });
  });
  return payload;
}

function headOf(key: number, version: number, correlationId: number, clientId: string, bodyBytes: number): Buffer {
  const idBytes = Buffer.byteLength(clientId);
  const head = Buffer.allocUnsafe(HEAD_BYTES + idBytes);
  head.writeInt32BE(HEAD_BYTES - 4 + idBytes + bodyBytes, 0);
  head.writeInt16BE(key, 4);
  head.writeInt16BE(version, 6);
  head.writeInt32BE(correlationId, 8);
  head.writeInt16BE(idBytes, 12);
  head.write(clientId, HEAD_BYTES, 'utf8');
  return head;
}
