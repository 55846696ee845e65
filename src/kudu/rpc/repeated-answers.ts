import type { DescMessage, Message, MessageShape } from '@bufbuild/protobuf';
import { decodeMessage } from './framing.ts';

/** A question may be asked in two ways in turn: for what is there, and for what is about to go. */
const ANSWERS_KEPT = 2;

interface Answer {
  readonly bytes: Uint8Array;
  readonly message: Message;
}

/**
 * The answers to questions that are asked again and again, and mostly answered as before: what comes again to the byte is not
 * decoded again, and is the very same message, by which a caller knows that there is nothing new. Nobody may change one.
 */
export class RepeatedAnswers {
  /** By question, the last first. */
  readonly #answers = new Map<string, readonly Answer[]>();

  /**
   * @param question of which the answers are all of this schema
   * @throws {KuduError} `protocol` when the bytes are not that message
   */
  decode<D extends DescMessage>(question: string, schema: D, bytes: Uint8Array): MessageShape<D> {
    const known = this.#answers.get(question) ?? [];
    const same = known.find((answer) => Buffer.compare(answer.bytes, bytes) === 0);
    if (same) return same.message as MessageShape<D>;
    const message = decodeMessage(schema, bytes);
    this.#answers.set(question, [{ bytes, message }, ...known].slice(0, ANSWERS_KEPT));
    return message;
  }
}
