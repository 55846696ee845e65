import * as z from 'zod';
import { describeIssue, faultsOf, type BodyFault } from '../util/zod-faults.ts';

/**
 * Tables that come and go, in the place of a list of all of them: who sends a whole list undoes what somebody else has
 * added since that list was read.
 */
const tableEdits = z.strictObject({
  add: z.array(z.string('must be text')).exactOptional(),
  remove: z.array(z.string('must be text')).exactOptional(),
});

export type EditedTables =
  | { readonly kind: 'ok'; readonly value: unknown }
  | { readonly kind: 'invalid'; readonly faults: readonly BodyFault[] };

/** What a change's `tables` makes of those that are there; anything but edits is taken as it is, and judged elsewhere. */
export function editTables(before: readonly string[], asked: unknown): EditedTables {
  if (typeof asked !== 'object' || asked === null || Array.isArray(asked)) return { kind: 'ok', value: asked };
  const parsed = tableEdits.safeParse(asked, { error: describeIssue });
  if (!parsed.success) {
    const faults = parsed.error.issues.flatMap((issue) => faultsOf(issue, Object.keys(tableEdits.shape)));
    return { kind: 'invalid', faults: faults.map(({ path, message }) => ({ path: `tables.${path}`, message })) };
  }
  const { add = [], remove = [] } = parsed.data;
  const faults = remove.flatMap((pattern, place) =>
    before.includes(pattern)
      ? []
      : [
          {
            path: `tables.remove[${place}]`,
            message: `the stream has no ${JSON.stringify(pattern)}: ${before.join(', ')}`,
          },
        ],
  );
  if (faults.length > 0) return { kind: 'invalid', faults };
  const kept = before.filter((pattern) => !remove.includes(pattern));
  return { kind: 'ok', value: [...new Set([...kept, ...add])] };
}
