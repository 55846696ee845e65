/**
 * Some tests have two forms. The short one is in `npm test` and shows that the thing works at all; the long one, in
 * `npm run test:long`, shows it at the size that the docs promise: millions of rows, a broker frozen for ten minutes.
 */
export function form<T>(short: T, long: T): T {
  return process.env['SPOOR_TEST_FORM'] === 'long' ? long : short;
}
