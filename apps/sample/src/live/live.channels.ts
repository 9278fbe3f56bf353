/** What one stream of the sample may carry: the contract of its page, which imports it as a type. */
import { notificationsChannel } from '../notifications/notifications.channel.js';
import { pricesChannel } from '../prices/prices.channel.js';
import { reportsChannel } from '../reports/reports.channel.js';

export const liveChannels = [pricesChannel, notificationsChannel, reportsChannel] as const;
