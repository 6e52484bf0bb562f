/**
 * A process that simulates the lives it is told of, one after the other, and answers each with its report. Ends with its parent.
 */
import { type LifeOptions, simulateLife } from './simulate-life.ts';

let seed: number | undefined;

process.on('message', async (options: LifeOptions) => {
  seed = options.seed;
  process.send?.(await simulateLife(options));
});
process.on('disconnect', () => process.exit());
// What nobody waits for and fails is a failure too.
process.on('unhandledRejection', (error) => {
  console.error(`seed ${seed}: nobody handled`, error);
  process.exit(1);
});
