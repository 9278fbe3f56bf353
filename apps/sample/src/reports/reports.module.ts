/** Everything about reports. */
import { Module } from '@nestjs/common';
import { ReportDesk } from './report-desk.js';
import { ReportsController } from './reports.controller.js';

@Module({ controllers: [ReportsController], providers: [ReportDesk] })
export class ReportsModule {}
