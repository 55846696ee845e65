import * as z from 'zod';

/*
 * What the contract knows and this version does not serve yet. The fault is marked, so that a body whose only faults are of
 * this kind is answered 501 and not 400.
 */

/** Options of a variant that this version does not serve are not looked at: saying 501 is enough. */
export function unservedVariant<const Type extends string>(type: Type, instead: string) {
  return z.looseObject({ type: z.literal(type) }).pipe(
    z
      .custom<never>(() => false, {
        path: ['type'],
        message: `${JSON.stringify(type)} is not supported yet by this version; use ${JSON.stringify(instead)}`,
        params: { unsupported: true },
      })
      .meta({ not: {} }),
  );
}

/** Whether an issue is nothing but that. */
export function isUnserved(issue: z.core.$ZodIssue): boolean {
  return issue.code === 'custom' && issue.params?.['unsupported'] === true;
}
