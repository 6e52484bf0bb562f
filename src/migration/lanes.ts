/**
 * Lanes: a few pieces of background work side by side, one being copied while another becomes durable.
 */

const lanes = 2;

/** `work` for each, a few at a time. The first error ends it when those under way have ended. */
export async function inLanes<T>(items: AsyncGenerator<T>, work: (item: T) => Promise<void>) {
  const lane = async () => {
    for (;;) {
      const { done, value } = await items.next();
      if (done) return;
      await work(value);
    }
  };
  const ends = await Promise.allSettled(Array.from({ length: lanes }, lane));
  for (const end of ends) if (end.status === 'rejected') throw end.reason;
}
