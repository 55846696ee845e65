import type { SaslAuthenticateArgs } from 'kafkajs';

/** A token of a mechanism, as kafkajs sends it: bytes with their length in front, and so the answer. */
export function saslMessage(token: Uint8Array): SaslAuthenticateArgs<Buffer> {
  const framed = Buffer.alloc(4 + token.length);
  framed.writeInt32BE(token.length);
  framed.set(token, 4);
  return {
    request: { encode: () => framed },
    response: {
      // kafkajs waits for both, and has null for no bytes, which it frames with the length -1.
      decode: (answer) => answer.subarray(4),
      parse: (answer) => answer,
    },
  };
}
