/**
 * Waiting for several works of which some may fail.
 */

/**
 * Resolves when all have ended; unlike Promise.all nothing goes on behind its back, on things closed meanwhile.
 *
 * @throws the error of the first that failed, when the others have ended too
 */
export async function allEnded<T>(works: Iterable<Promise<T>>): Promise<T[]> {
  const ends = await Promise.allSettled(works);
  return ends.map((end) => {
    if (end.status === 'rejected') throw end.reason;
    return end.value;
  });
}
