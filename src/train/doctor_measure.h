#pragma once
/// The numbers that the doctor looks at. Private to src/train.

#include "src/train/bank.h"
#include "src/train/doctor.h"
#include "src/train/job_data.h"

namespace peft {

DataFacts facts_of(const JobData& data, const TaskConfig& task);

/// A few values of every trained tensor of adapter k, evenly spaced, by learning-rate group. One read of the device.
Doctor::Sample sample_values(const Method& method, int64_t k);

/// What the method measures, on the first texts of the dev split, or of train where there is none. Nothing where the objective reads other
/// rows than those of texts.
Signs measure_signs(const Bank& bank, int64_t k, const JobData& data);

}  // namespace peft
