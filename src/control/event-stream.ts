import type { ServerResponse } from 'node:http';
import type { Role } from './access.ts';
import type { EventReader } from '../status/cluster-events.ts';

const HEARTBEAT_MS = 15_000;
/** What one reader has not taken yet is at most this, and one state. */
const MAX_UNREAD_BYTES = 1 << 20;
/** A reader that is behind for so long is cut off. */
const BEHIND_MS = 10_000;

export interface EventStreamOptions {
  readonly role: Role;
  readonly behindMs?: number;
  readonly heartbeatMs?: number;
}

/**
 * Server-sent events to one reader (HTML Living Standard, 9.2). What it does not take is not kept for it: it is told that
 * it is behind, and is cut off when it stays so.
 */
export class EventStream implements EventReader, Disposable {
  readonly role: Role;
  readonly #response: ServerResponse;
  readonly #behindMs: number;
  readonly #heartbeat: NodeJS.Timeout;
  #behindSinceMs: number | null = null;

  constructor(
    response: ServerResponse,
    { role, behindMs = BEHIND_MS, heartbeatMs = HEARTBEAT_MS }: EventStreamOptions,
  ) {
    this.role = role;
    this.#response = response;
    this.#behindMs = behindMs;
    response.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      'x-accel-buffering': 'no', // nginx would keep events until there are many
    });
    response.flushHeaders();
    this.#heartbeat = setInterval(() => {
      this.#write(': still here\n\n');
    }, heartbeatMs);
    this.#heartbeat.unref();
  }

  tell(event: 'state' | 'change' | 'history', data: string): boolean {
    return this.#write(`event: ${event}\ndata: ${data}\n\n`);
  }

  #write(text: string): boolean {
    if (this.#response.writableLength <= MAX_UNREAD_BYTES) {
      this.#behindSinceMs = null;
      this.#response.write(text);
      return true;
    }
    const nowMs = performance.now();
    this.#behindSinceMs ??= nowMs;
    if (nowMs - this.#behindSinceMs >= this.#behindMs) this.#response.destroy();
    return false;
  }

  [Symbol.dispose](): void {
    clearInterval(this.#heartbeat);
    this.#response.end();
  }
}
