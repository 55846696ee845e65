import type { Api, ErrorCodeNumber } from './api.ts';
import { ByteReader, ByteWriter } from './bytes.ts';

const TOPIC = 2;

/** Some settings of one topic. What the broker does not know is not in the answer. Source: DescribeConfigsRequest.json. */
export const DESCRIBE_TOPIC_CONFIG: Api<
  { readonly topic: string; readonly names: readonly string[] },
  {
    readonly errorCode: ErrorCodeNumber;
    readonly message: string | null;
    readonly values: ReadonlyMap<string, string | null>;
  }
> = {
  key: 32,
  version: 1,
  name: 'DescribeConfigs',
  encode: ({ topic, names }) => {
    const w = new ByteWriter();
    w.int32(1).int8(TOPIC).string(topic); // one resource
    return w
      .array(names, (name) => w.string(name))
      .boolean(false) // no synonyms
      .finish();
  },
  decode: (bytes) => {
    const r = new ByteReader(bytes);
    const throttleMs = r.int32();
    const [answer] = r.array(() => {
      const errorCode = r.int16();
      const message = r.nullableString();
      r.int8(); // kind of resource
      r.string();
      const values = r.array(() => {
        const entry = [r.string(), r.nullableString()] as const;
        r.boolean(); // read only
        r.int8(); // source
        r.boolean(); // sensitive
        r.array(() => [r.string(), r.nullableString(), r.int8()]); // synonyms
        return entry;
      });
      return { errorCode, message, values: new Map(values) };
    });
    if (answer === undefined) throw new RangeError('the answer describes no topic');
    return { throttleMs, value: answer };
  },
};
