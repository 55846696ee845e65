import * as z from 'zod';

/** `rotateBytes` of a stream that names none. */
const ROTATE_BYTES = 128 << 20;
/** `rotateSeconds` of a stream that names none. */
const ROTATE_SECONDS = 60;

export const fileSink = z.strictObject({
  type: z.literal('file'),
  dir: z
    .string()
    .regex(/^\/[^\0]*$/, 'must be an absolute path')
    .describe('Folder for the files, which is there: storage that all sidecars of the stream share.'),
  rotateBytes: z
    .int()
    .min(1 << 10)
    .max(2 ** 40)
    .default(ROTATE_BYTES)
    .describe('A file of so many bytes is closed, behind the write that reaches it.'),
  rotateSeconds: z
    .int()
    .min(1)
    .max(86_400)
    .default(ROTATE_SECONDS)
    .describe('A file with records is closed after so many seconds.'),
});
export type FileDefinition = Readonly<z.output<typeof fileSink>>;
