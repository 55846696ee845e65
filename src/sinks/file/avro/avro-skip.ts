import * as z from 'zod';

/** Where a value ends that begins at `at`. @throws {SyntaxError} it has no such value there */
export type Skip = (bytes: Buffer, at: number) => number;

const named = z.looseObject({
  type: z.string(),
  name: z.string().optional(),
  fields: z.array(z.looseObject({ type: z.unknown() })).optional(),
});

/** How to step over values of a schema of ours. @throws {SyntaxError} it has a type that none of ours has */
export function compileSkip(schema: unknown, known = new Map<string, Skip>()): Skip {
  if (Array.isArray(schema)) return skipUnion(schema.map((branch) => compileSkip(branch, known)));
  if (typeof schema === 'string') return known.get(schema) ?? skipPrimitive(schema);
  const parsed = named.safeParse(schema);
  if (!parsed.success) throw new SyntaxError('a part of its schema is none');
  const { type, name, fields } = parsed.data;
  if (type !== 'record') return skipPrimitive(type);
  const skips = (fields ?? []).map((field) => compileSkip(field.type, known));
  const skip: Skip = (bytes, at) => {
    for (const each of skips) at = each(bytes, at);
    return at;
  };
  if (name !== undefined) known.set(name, skip);
  return skip;
}

function skipUnion(branches: readonly Skip[]): Skip {
  return (bytes, at) => {
    const end = endOfNumber(bytes, at);
    const branch = branches[readNumber(bytes, at)];
    if (!branch) throw new SyntaxError('a branch that its schema has not');
    return branch(bytes, end);
  };
}

function skipPrimitive(type: string): Skip {
  switch (type) {
    case 'null':
      return (_, at) => at;
    case 'boolean':
      return (bytes, at) => within(bytes, at + 1);
    case 'int':
    case 'long':
      return endOfNumber;
    case 'float':
      return (bytes, at) => within(bytes, at + 4);
    case 'double':
      return (bytes, at) => within(bytes, at + 8);
    case 'bytes':
    case 'string':
      return endOfRun;
    default:
      throw new SyntaxError(`its schema has a type ${JSON.stringify(type)} that none of ours has`);
  }
}

/** Where bytes or a text end, with their length before them. */
export function endOfRun(bytes: Buffer, at: number): number {
  const length = readNumber(bytes, at);
  if (length < 0) throw new SyntaxError('a length below 0');
  return within(bytes, endOfNumber(bytes, at) + length);
}

export function endOfNumber(bytes: Buffer, at: number): number {
  while (within(bytes, at + 1) && bytes[at]! >= 0x80) at++;
  return at + 1;
}

/** One that a double holds. */
export function readNumber(bytes: Buffer, at: number): number {
  let value = 0n;
  for (let shift = 0n; ; shift += 7n) {
    const byte = bytes[within(bytes, at + 1) - 1]!;
    value |= BigInt(byte & 0x7f) << shift;
    if (byte < 0x80) return Number((value >> 1n) ^ -(value & 1n));
    at++;
  }
}

function within(bytes: Buffer, end: number): number {
  if (end > bytes.length) throw new SyntaxError('it ends within a value');
  return end;
}
