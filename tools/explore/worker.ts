/**
 * A process that explores the lives it is told of, one after the other, and answers each with its report. Ends with its parent.
 */
import { exploreLife, type LifeOptions } from './explore-life.ts';

process.on('message', async (options: LifeOptions) => {
  process.send?.(await exploreLife(options));
});
process.on('disconnect', () => process.exit());
