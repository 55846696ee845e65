import { randomUUID } from 'node:crypto';
import { create } from '@bufbuild/protobuf';
import { RequestIdPBSchema, type RequestIdPB } from '../proto/rpc_pb.ts';

/**
 * Names requests, so that a server which is sent one twice runs it once and answers both times alike, also after a
 * change of leader (kudu/rpc/request_tracker.h, result_tracker.h). Servers keep an answer for ten minutes.
 */
export class RequestTracker {
  /** One client for as long as this process knows of it. */
  readonly clientId = randomUUID().replaceAll('-', '');
  readonly #incomplete = new Set<bigint>();
  #nextSeqNo = 0n;

  /** Begins a request. Call `done` once nobody will send it again. */
  begin(): TrackedRequest {
    const seqNo = this.#nextSeqNo++;
    this.#incomplete.add(seqNo);
    let attempts = 0n;
    return {
      nextAttempt: () =>
        create(RequestIdPBSchema, {
          clientId: this.clientId,
          seqNo,
          // A set keeps the order of insertion, so its first is the lowest: servers forget the answers below it.
          firstIncompleteSeqNo: this.#incomplete.values().next().value ?? seqNo,
          attemptNo: attempts++,
        }),
      done: () => {
        this.#incomplete.delete(seqNo);
      },
    };
  }
}

export interface TrackedRequest {
  /** The id to send the request with, this time. */
  nextAttempt(): RequestIdPB;
  done(): void;
}
