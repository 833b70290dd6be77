CREATE TABLE automl_schema_version (
    version INTEGER NOT NULL,
    applied_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (version)
);

CREATE TABLE automl_study (
    id SERIAL NOT NULL,
    name TEXT NOT NULL,
    spec JSON NOT NULL,
    spec_digest TEXT NOT NULL,
    seed BIGINT NOT NULL,
    versions JSON NOT NULL,
    device TEXT NOT NULL,
    objectives JSON NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    finished_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (id),
    UNIQUE (name)
);

CREATE TABLE automl_control (
    study_id INTEGER NOT NULL,
    device TEXT NOT NULL,
    kind TEXT NOT NULL,
    reference_ms FLOAT NOT NULL,
    sha256 TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (study_id, device, kind),
    FOREIGN KEY(study_id) REFERENCES automl_study (id)
);

CREATE TABLE automl_event (
    id SERIAL NOT NULL,
    study_id INTEGER NOT NULL,
    trial INTEGER,
    kind TEXT NOT NULL,
    text TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (id),
    FOREIGN KEY(study_id) REFERENCES automl_study (id)
);

CREATE INDEX automl_event_by_study ON automl_event (study_id, id);

CREATE TABLE automl_lease (
    study_id INTEGER NOT NULL,
    token TEXT NOT NULL,
    host TEXT NOT NULL,
    boot_id TEXT NOT NULL,
    pid INTEGER NOT NULL,
    process_start BIGINT NOT NULL,
    taken_at TIMESTAMP WITH TIME ZONE NOT NULL,
    renewed_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (study_id),
    FOREIGN KEY(study_id) REFERENCES automl_study (id)
);

CREATE TABLE automl_outcome (
    id SERIAL NOT NULL,
    study_id INTEGER NOT NULL,
    state TEXT NOT NULL,
    reason TEXT,
    traceback TEXT,
    stable BOOLEAN,
    verdict TEXT,
    twin_ratio FLOAT,
    twin_ratio_low FLOAT,
    twin_ratio_high FLOAT,
    size_ratio FLOAT,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (id),
    FOREIGN KEY(study_id) REFERENCES automl_study (id)
);

CREATE INDEX automl_outcome_by_study ON automl_outcome (study_id);

CREATE TABLE automl_session (
    id SERIAL NOT NULL,
    study_id INTEGER NOT NULL,
    token TEXT NOT NULL,
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    phase TEXT NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE NOT NULL,
    last_seen_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (id),
    FOREIGN KEY(study_id) REFERENCES automl_study (id)
);

CREATE INDEX automl_session_by_study ON automl_session (study_id, id);

CREATE TABLE automl_teacher (
    id SERIAL NOT NULL,
    study_id INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    path TEXT NOT NULL,
    candidate JSON NOT NULL,
    seconds FLOAT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (id),
    FOREIGN KEY(study_id) REFERENCES automl_study (id)
);

CREATE TABLE automl_artefact (
    outcome_id INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    path TEXT NOT NULL,
    size_bytes BIGINT NOT NULL,
    PRIMARY KEY (outcome_id),
    FOREIGN KEY(outcome_id) REFERENCES automl_outcome (id)
);

CREATE INDEX automl_artefact_by_sha256 ON automl_artefact (sha256);

CREATE TABLE automl_duration (
    outcome_id INTEGER NOT NULL,
    position INTEGER NOT NULL,
    part TEXT NOT NULL,
    seconds FLOAT NOT NULL,
    PRIMARY KEY (outcome_id, position),
    FOREIGN KEY(outcome_id) REFERENCES automl_outcome (id)
);

CREATE TABLE automl_epoch (
    outcome_id INTEGER NOT NULL,
    position INTEGER NOT NULL,
    phase TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    loss FLOAT NOT NULL,
    gradient_norm FLOAT NOT NULL,
    learning_rate FLOAT NOT NULL,
    seconds FLOAT NOT NULL,
    PRIMARY KEY (outcome_id, position),
    FOREIGN KEY(outcome_id) REFERENCES automl_outcome (id)
);

CREATE TABLE automl_measurement (
    outcome_id INTEGER NOT NULL,
    position INTEGER NOT NULL,
    name TEXT NOT NULL,
    value FLOAT NOT NULL,
    kind TEXT NOT NULL,
    protocol TEXT NOT NULL,
    low FLOAT NOT NULL,
    high FLOAT NOT NULL,
    samples BIGINT NOT NULL,
    device TEXT NOT NULL,
    artefact TEXT NOT NULL,
    PRIMARY KEY (outcome_id, position),
    FOREIGN KEY(outcome_id) REFERENCES automl_outcome (id)
);

CREATE TABLE automl_note (
    outcome_id INTEGER NOT NULL,
    position INTEGER NOT NULL,
    text TEXT NOT NULL,
    PRIMARY KEY (outcome_id, position),
    FOREIGN KEY(outcome_id) REFERENCES automl_outcome (id)
);

CREATE TABLE automl_teacher_measurement (
    teacher_id INTEGER NOT NULL,
    position INTEGER NOT NULL,
    name TEXT NOT NULL,
    value FLOAT NOT NULL,
    kind TEXT NOT NULL,
    protocol TEXT NOT NULL,
    low FLOAT NOT NULL,
    high FLOAT NOT NULL,
    samples BIGINT NOT NULL,
    device TEXT NOT NULL,
    artefact TEXT NOT NULL,
    PRIMARY KEY (teacher_id, position),
    FOREIGN KEY(teacher_id) REFERENCES automl_teacher (id)
);

CREATE TABLE automl_timing (
    outcome_id INTEGER NOT NULL,
    position INTEGER NOT NULL,
    moment TEXT NOT NULL,
    kind TEXT NOT NULL,
    protocol TEXT NOT NULL,
    device TEXT NOT NULL,
    artefact TEXT NOT NULL,
    control TEXT NOT NULL,
    control_reference_ms FLOAT NOT NULL,
    control_ratio FLOAT NOT NULL,
    control_ratio_low FLOAT NOT NULL,
    control_ratio_high FLOAT NOT NULL,
    twin_ratio FLOAT,
    twin_ratio_low FLOAT,
    twin_ratio_high FLOAT,
    aa_ratio FLOAT,
    aa_ratio_low FLOAT,
    aa_ratio_high FLOAT,
    samples_ms JSON NOT NULL,
    PRIMARY KEY (outcome_id, position),
    FOREIGN KEY(outcome_id) REFERENCES automl_outcome (id)
);

CREATE TABLE automl_trial (
    study_id INTEGER NOT NULL,
    number INTEGER NOT NULL,
    point JSON NOT NULL,
    candidate JSON NOT NULL,
    candidate_hash TEXT NOT NULL,
    shape_key TEXT NOT NULL,
    sampler_state JSON NOT NULL,
    enqueued BOOLEAN NOT NULL,
    attempts INTEGER NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    outcome_id INTEGER,
    reused_from INTEGER,
    PRIMARY KEY (study_id, number),
    FOREIGN KEY(study_id, reused_from) REFERENCES automl_trial (study_id, number),
    FOREIGN KEY(study_id) REFERENCES automl_study (id),
    UNIQUE (outcome_id),
    FOREIGN KEY(outcome_id) REFERENCES automl_outcome (id)
);

CREATE INDEX automl_trial_by_candidate ON automl_trial (study_id, candidate_hash);

CREATE INDEX automl_trial_by_shape ON automl_trial (study_id, shape_key);

CREATE TABLE automl_violation (
    outcome_id INTEGER NOT NULL,
    position INTEGER NOT NULL,
    name TEXT NOT NULL,
    value FLOAT NOT NULL,
    bound FLOAT NOT NULL,
    PRIMARY KEY (outcome_id, position),
    FOREIGN KEY(outcome_id) REFERENCES automl_outcome (id)
);

CREATE TABLE automl_finalist (
    id SERIAL NOT NULL,
    study_id INTEGER NOT NULL,
    role TEXT NOT NULL,
    trial INTEGER,
    candidate JSON NOT NULL,
    candidate_hash TEXT NOT NULL,
    outcome_id INTEGER NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (id),
    FOREIGN KEY(study_id, trial) REFERENCES automl_trial (study_id, number),
    UNIQUE (study_id, role, candidate_hash),
    FOREIGN KEY(study_id) REFERENCES automl_study (id),
    UNIQUE (outcome_id),
    FOREIGN KEY(outcome_id) REFERENCES automl_outcome (id)
);

INSERT INTO automl_schema_version VALUES (1, '2026-11-22 23:39:30.731669');
INSERT INTO automl_study VALUES (1, 'digits', '{"seed": 1}', 'digest', 1, '{"torch": "2"}', 'cpu:x', '["accuracy", "latency_ms"]', '2026-01-01 00:00:01.000000', '2026-01-01 00:00:19.000000');
SELECT setval('automl_study_id_seq', 1);
INSERT INTO automl_control VALUES (1, 'cpu:x', 'fp32', 2.0, 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', '2026-01-01 00:00:03.000000');
INSERT INTO automl_event VALUES (1, 1, 3, 'note', 'a snowman ☃, it''s "quoted" and has a NUL: ␛0000', '2026-01-01 00:00:17.000000');
SELECT setval('automl_event_id_seq', 1);
INSERT INTO automl_outcome VALUES (1, 1, 'measured', NULL, NULL, true, 'faster', 0.5, 0.4, 0.6, 0.25, '2026-01-01 00:00:11.000000');
INSERT INTO automl_outcome VALUES (2, 1, 'infeasible', 'over latency_ms', NULL, NULL, NULL, NULL, NULL, NULL, NULL, '2026-01-01 00:00:12.000000');
INSERT INTO automl_outcome VALUES (3, 1, 'stopped', 'dominated at rung 1', NULL, NULL, NULL, NULL, NULL, NULL, NULL, '2026-01-01 00:00:13.000000');
INSERT INTO automl_outcome VALUES (4, 1, 'failed', 'out of memory', 'Traceback of 3
', NULL, NULL, NULL, NULL, NULL, NULL, '2026-01-01 00:00:14.000000');
INSERT INTO automl_outcome VALUES (5, 1, 'measured', NULL, NULL, true, 'faster', 0.5, 0.4, 0.6, 0.25, '2026-01-01 00:00:16.000000');
INSERT INTO automl_outcome VALUES (6, 1, 'measured', NULL, NULL, true, 'faster', 0.5, 0.4, 0.6, 0.25, '2026-01-01 00:00:18.000000');
SELECT setval('automl_outcome_id_seq', 6);
INSERT INTO automl_session VALUES (1, 1, '882e9498b59241f6bd20d49553a74927', 'a-host', 4242, 'start', '2026-01-01 00:00:02.000000', '2026-01-01 00:00:05.000000');
INSERT INTO automl_session VALUES (2, 1, '882e9498b59241f6bd20d49553a74927', 'a-host', 4242, 'search', '2026-01-01 00:00:05.000000', '2026-01-01 00:00:20.000000');
SELECT setval('automl_session_id_seq', 2);
INSERT INTO automl_teacher VALUES (1, 1, 'bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb', 'teacher/b.onnx', '{"genotype": {"normal": {"nodes": [[["sep_conv_3x3", 0], ["skip_connect", 1]], [["sep_conv_3x3", 0], ["skip_connect", 1]], [["sep_conv_3x3", 0], ["skip_connect", 1]], [["sep_conv_3x3", 0], ["skip_connect", 1]]], "concat": [2, 3, 4, 5]}, "reduction": {"nodes": [[["sep_conv_3x3", 0], ["skip_connect", 1]], [["sep_conv_3x3", 0], ["skip_connect", 1]], [["sep_conv_3x3", 0], ["skip_connect", 1]], [["sep_conv_3x3", 0], ["skip_connect", 1]]], "concat": [2, 3, 4, 5]}, "cells": 3, "width": 16}, "pruning": {"kept_widths": [16, 32, 48]}, "quantization": {"weight_bits": [32, 8, 4], "activation_bits": [32, 8, 32]}, "distillation": {"alpha": 0.7, "temperature": 4.0}, "training": {"optimizer": "adamw", "learning_rate": 0.002, "weight_decay": 0.0005, "batch_size": 64, "epochs": 10, "dropout": 0.0, "label_smoothing": 0.1, "clip_norm": 5.0}}', 7.5, '2026-01-01 00:00:04.000000');
SELECT setval('automl_teacher_id_seq', 1);
INSERT INTO automl_artefact VALUES (1, '0000000000000000000000000000000000000000000000000000000000000000', 'artefacts/0.onnx', 1000);
INSERT INTO automl_artefact VALUES (5, '0000000000000000000000000000000000000000000000000000000000000000', 'artefacts/0.onnx', 1000);
INSERT INTO automl_artefact VALUES (6, '0000000000000000000000000000000000000000000000000000000000000008', 'artefacts/8.onnx', 1008);
INSERT INTO automl_duration VALUES (1, 0, 'train', 1.5);
INSERT INTO automl_duration VALUES (1, 1, 'time', 0.25);
INSERT INTO automl_duration VALUES (2, 0, 'train', 2.5);
INSERT INTO automl_duration VALUES (2, 1, 'time', 0.25);
INSERT INTO automl_duration VALUES (3, 0, 'train', 3.5);
INSERT INTO automl_duration VALUES (3, 1, 'time', 0.25);
INSERT INTO automl_duration VALUES (4, 0, 'train', 4.5);
INSERT INTO automl_duration VALUES (4, 1, 'time', 0.25);
INSERT INTO automl_duration VALUES (5, 0, 'train', 1.5);
INSERT INTO automl_duration VALUES (5, 1, 'time', 0.25);
INSERT INTO automl_duration VALUES (6, 0, 'train', 9.5);
INSERT INTO automl_duration VALUES (6, 1, 'time', 0.25);
INSERT INTO automl_epoch VALUES (1, 0, 'dense', 0, 2.3, 1.0, 0.001, 0.5);
INSERT INTO automl_epoch VALUES (1, 1, 'pruned', 0, 'Infinity', 9.0, 0.0001, 0.5);
INSERT INTO automl_epoch VALUES (5, 0, 'dense', 0, 2.3, 1.0, 0.001, 0.5);
INSERT INTO automl_epoch VALUES (5, 1, 'pruned', 0, 'Infinity', 9.0, 0.0001, 0.5);
INSERT INTO automl_epoch VALUES (6, 0, 'dense', 0, 2.3, 1.0, 0.001, 0.5);
INSERT INTO automl_epoch VALUES (6, 1, 'pruned', 0, 'Infinity', 9.0, 0.0001, 0.5);
INSERT INTO automl_measurement VALUES (1, 0, 'latency_ms', 0.5, 'measured', 'p1', 0.4, 0.6, 12, 'cpu:x', 'ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff');
INSERT INTO automl_measurement VALUES (2, 0, 'latency_ms', 1.5, 'measured', 'p1', 0.4, 0.6, 12, 'cpu:x', 'ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff');
INSERT INTO automl_measurement VALUES (5, 0, 'latency_ms', 0.5, 'measured', 'p1', 0.4, 0.6, 12, 'cpu:x', 'ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff');
INSERT INTO automl_measurement VALUES (6, 0, 'latency_ms', 8.5, 'measured', 'p1', 0.4, 0.6, 12, 'cpu:x', 'ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff');
INSERT INTO automl_note VALUES (1, 0, 'one note');
INSERT INTO automl_note VALUES (1, 1, 'note of 0');
INSERT INTO automl_note VALUES (5, 0, 'one note');
INSERT INTO automl_note VALUES (5, 1, 'note of 0');
INSERT INTO automl_note VALUES (6, 0, 'one note');
INSERT INTO automl_note VALUES (6, 1, 'note of 8');
INSERT INTO automl_teacher_measurement VALUES (1, 0, 'latency_ms', 4.5, 'measured', 'p1', 0.4, 0.6, 12, 'cpu:x', 'ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff');
INSERT INTO automl_timing VALUES (1, 0, 'untrained', 'measured', 'p1', 'cpu:x', 'ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff', 'fp32', 2.0, 0.25, 0.23809523809523808, 0.2631578947368421, NULL, NULL, NULL, 1.0, 0.99, 1.01, '{"candidate": [0.5, 0.51], "control": [2.0, 2.01]}');
INSERT INTO automl_timing VALUES (1, 1, 'trained', 'measured', 'p1', 'cpu:x', 'ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff', 'fp32', 2.0, 0.255, 0.24285714285714285, 0.26842105263157895, NULL, NULL, NULL, 1.0, 0.99, 1.01, '{"candidate": [0.51, 0.52], "control": [2.0, 2.01]}');
INSERT INTO automl_timing VALUES (2, 0, 'untrained', 'measured', 'p1', 'cpu:x', 'ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff', 'fp32', 2.0, 1.5, 1.4285714285714286, 1.5789473684210527, NULL, NULL, NULL, 1.0, 0.99, 1.01, '{"candidate": [3.0, 3.01], "control": [2.0, 2.01]}');
INSERT INTO automl_timing VALUES (5, 0, 'untrained', 'measured', 'p1', 'cpu:x', 'ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff', 'fp32', 2.0, 0.25, 0.23809523809523808, 0.2631578947368421, NULL, NULL, NULL, 1.0, 0.99, 1.01, '{"candidate": [0.5, 0.51], "control": [2.0, 2.01]}');
INSERT INTO automl_timing VALUES (5, 1, 'trained', 'measured', 'p1', 'cpu:x', 'ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff', 'fp32', 2.0, 0.255, 0.24285714285714285, 0.26842105263157895, NULL, NULL, NULL, 1.0, 0.99, 1.01, '{"candidate": [0.51, 0.52], "control": [2.0, 2.01]}');
INSERT INTO automl_timing VALUES (6, 0, 'untrained', 'measured', 'p1', 'cpu:x', 'ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff', 'fp32', 2.0, 0.25, 0.23809523809523808, 0.2631578947368421, NULL, NULL, NULL, 1.0, 0.99, 1.01, '{"candidate": [0.5, 0.51], "control": [2.0, 2.01]}');
INSERT INTO automl_timing VALUES (6, 1, 'trained', 'measured', 'p1', 'cpu:x', 'ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff', 'fp32', 2.0, 0.255, 0.24285714285714285, 0.26842105263157895, NULL, NULL, NULL, 1.0, 0.99, 1.01, '{"candidate": [0.51, 0.52], "control": [2.0, 2.01]}');
INSERT INTO automl_trial VALUES (1, 0, '{"width": 1}', '{"genotype": {"normal": {"nodes": [[["sep_conv_3x3", 0], ["skip_connect", 1]], [["sep_conv_3x3", 0], ["skip_connect", 1]], [["sep_conv_3x3", 0], ["skip_connect", 1]], [["sep_conv_3x3", 0], ["skip_connect", 1]]], "concat": [2, 3, 4, 5]}, "reduction": {"nodes": [[["sep_conv_3x3", 0], ["skip_connect", 1]], [["sep_conv_3x3", 0], ["skip_connect", 1]], [["sep_conv_3x3", 0], ["skip_connect", 1]], [["sep_conv_3x3", 0], ["skip_connect", 1]]], "concat": [2, 3, 4, 5]}, "cells": 3, "width": 16}, "pruning": {"kept_widths": [16, 32, 48]}, "quantization": {"weight_bits": [32, 8, 4], "activation_bits": [32, 8, 32]}, "distillation": {"alpha": 0.7, "temperature": 4.0}, "training": {"optimizer": "adamw", "learning_rate": 0.001, "weight_decay": 0.0005, "batch_size": 64, "epochs": 10, "dropout": 0.0, "label_smoothing": 0.1, "clip_norm": 5.0}}', '020a36e075d816b8', 'shape 0', '{"generation": 2}', true, 1, '2026-01-01 00:00:06.000000', 1, NULL);
INSERT INTO automl_trial VALUES (1, 1, '{"width": 1}', '{"genotype": {"normal": {"nodes": [[["sep_conv_3x3", 0], ["skip_connect", 1]], [["sep_conv_3x3", 0], ["skip_connect", 1]], [["sep_conv_3x3", 0], ["skip_connect", 1]], [["sep_conv_3x3", 0], ["skip_connect", 1]]], "concat": [2, 3, 4, 5]}, "reduction": {"nodes": [[["sep_conv_3x3", 0], ["skip_connect", 1]], [["sep_conv_3x3", 0], ["skip_connect", 1]], [["sep_conv_3x3", 0], ["skip_connect", 1]], [["sep_conv_3x3", 0], ["skip_connect", 1]]], "concat": [2, 3, 4, 5]}, "cells": 3, "width": 16}, "pruning": {"kept_widths": [16, 32, 48]}, "quantization": {"weight_bits": [32, 8, 4], "activation_bits": [32, 8, 32]}, "distillation": {"alpha": 0.7, "temperature": 4.0}, "training": {"optimizer": "adamw", "learning_rate": 0.002, "weight_decay": 0.0005, "batch_size": 64, "epochs": 10, "dropout": 0.0, "label_smoothing": 0.1, "clip_norm": 5.0}}', '8c530dee48cc727a', 'shape 1', '{"generation": 2}', false, 1, '2026-01-01 00:00:07.000000', 2, NULL);
INSERT INTO automl_trial VALUES (1, 2, '{"width": 1}', '{"genotype": {"normal": {"nodes": [[["sep_conv_3x3", 0], ["skip_connect", 1]], [["sep_conv_3x3", 0], ["skip_connect", 1]], [["sep_conv_3x3", 0], ["skip_connect", 1]], [["sep_conv_3x3", 0], ["skip_connect", 1]]], "concat": [2, 3, 4, 5]}, "reduction": {"nodes": [[["sep_conv_3x3", 0], ["skip_connect", 1]], [["sep_conv_3x3", 0], ["skip_connect", 1]], [["sep_conv_3x3", 0], ["skip_connect", 1]], [["sep_conv_3x3", 0], ["skip_connect", 1]]], "concat": [2, 3, 4, 5]}, "cells": 3, "width": 16}, "pruning": {"kept_widths": [16, 32, 48]}, "quantization": {"weight_bits": [32, 8, 4], "activation_bits": [32, 8, 32]}, "distillation": {"alpha": 0.7, "temperature": 4.0}, "training": {"optimizer": "adamw", "learning_rate": 0.003, "weight_decay": 0.0005, "batch_size": 64, "epochs": 10, "dropout": 0.0, "label_smoothing": 0.1, "clip_norm": 5.0}}', 'de6fd29019141dbd', 'shape 0', '{"generation": 2}', false, 1, '2026-01-01 00:00:08.000000', 3, NULL);
INSERT INTO automl_trial VALUES (1, 3, '{"width": 1}', '{"genotype": {"normal": {"nodes": [[["sep_conv_3x3", 0], ["skip_connect", 1]], [["sep_conv_3x3", 0], ["skip_connect", 1]], [["sep_conv_3x3", 0], ["skip_connect", 1]], [["sep_conv_3x3", 0], ["skip_connect", 1]]], "concat": [2, 3, 4, 5]}, "reduction": {"nodes": [[["sep_conv_3x3", 0], ["skip_connect", 1]], [["sep_conv_3x3", 0], ["skip_connect", 1]], [["sep_conv_3x3", 0], ["skip_connect", 1]], [["sep_conv_3x3", 0], ["skip_connect", 1]]], "concat": [2, 3, 4, 5]}, "cells": 3, "width": 16}, "pruning": {"kept_widths": [16, 32, 48]}, "quantization": {"weight_bits": [32, 8, 4], "activation_bits": [32, 8, 32]}, "distillation": {"alpha": 0.7, "temperature": 4.0}, "training": {"optimizer": "adamw", "learning_rate": 0.004, "weight_decay": 0.0005, "batch_size": 64, "epochs": 10, "dropout": 0.0, "label_smoothing": 0.1, "clip_norm": 5.0}}', 'be5bf2fb120e43f7', 'shape 1', '{"generation": 2}', false, 1, '2026-01-01 00:00:09.000000', 4, NULL);
INSERT INTO automl_trial VALUES (1, 4, '{"width": 1}', '{"genotype": {"normal": {"nodes": [[["sep_conv_3x3", 0], ["skip_connect", 1]], [["sep_conv_3x3", 0], ["skip_connect", 1]], [["sep_conv_3x3", 0], ["skip_connect", 1]], [["sep_conv_3x3", 0], ["skip_connect", 1]]], "concat": [2, 3, 4, 5]}, "reduction": {"nodes": [[["sep_conv_3x3", 0], ["skip_connect", 1]], [["sep_conv_3x3", 0], ["skip_connect", 1]], [["sep_conv_3x3", 0], ["skip_connect", 1]], [["sep_conv_3x3", 0], ["skip_connect", 1]]], "concat": [2, 3, 4, 5]}, "cells": 3, "width": 16}, "pruning": {"kept_widths": [16, 32, 48]}, "quantization": {"weight_bits": [32, 8, 4], "activation_bits": [32, 8, 32]}, "distillation": {"alpha": 0.7, "temperature": 4.0}, "training": {"optimizer": "adamw", "learning_rate": 0.005, "weight_decay": 0.0005, "batch_size": 64, "epochs": 10, "dropout": 0.0, "label_smoothing": 0.1, "clip_norm": 5.0}}', '0769864f2ec79a97', 'shape 0', '{"generation": 2}', false, 1, '2026-01-01 00:00:10.000000', NULL, NULL);
INSERT INTO automl_trial VALUES (1, 5, '{"width": 1}', '{"genotype": {"normal": {"nodes": [[["sep_conv_3x3", 0], ["skip_connect", 1]], [["sep_conv_3x3", 0], ["skip_connect", 1]], [["sep_conv_3x3", 0], ["skip_connect", 1]], [["sep_conv_3x3", 0], ["skip_connect", 1]]], "concat": [2, 3, 4, 5]}, "reduction": {"nodes": [[["sep_conv_3x3", 0], ["skip_connect", 1]], [["sep_conv_3x3", 0], ["skip_connect", 1]], [["sep_conv_3x3", 0], ["skip_connect", 1]], [["sep_conv_3x3", 0], ["skip_connect", 1]]], "concat": [2, 3, 4, 5]}, "cells": 3, "width": 16}, "pruning": {"kept_widths": [16, 32, 48]}, "quantization": {"weight_bits": [32, 8, 4], "activation_bits": [32, 8, 32]}, "distillation": {"alpha": 0.7, "temperature": 4.0}, "training": {"optimizer": "adamw", "learning_rate": 0.006, "weight_decay": 0.0005, "batch_size": 64, "epochs": 10, "dropout": 0.0, "label_smoothing": 0.1, "clip_norm": 5.0}}', '0a83ea7928e19a82', 'shape 0', '{"generation": 2}', false, 0, '2026-01-01 00:00:15.000000', 5, 0);
INSERT INTO automl_violation VALUES (2, 0, 'latency_ms', 3.0, 2.0);
INSERT INTO automl_finalist VALUES (1, 1, 'finalist', 0, '{"genotype": {"normal": {"nodes": [[["sep_conv_3x3", 0], ["skip_connect", 1]], [["sep_conv_3x3", 0], ["skip_connect", 1]], [["sep_conv_3x3", 0], ["skip_connect", 1]], [["sep_conv_3x3", 0], ["skip_connect", 1]]], "concat": [2, 3, 4, 5]}, "reduction": {"nodes": [[["sep_conv_3x3", 0], ["skip_connect", 1]], [["sep_conv_3x3", 0], ["skip_connect", 1]], [["sep_conv_3x3", 0], ["skip_connect", 1]], [["sep_conv_3x3", 0], ["skip_connect", 1]]], "concat": [2, 3, 4, 5]}, "cells": 3, "width": 16}, "pruning": {"kept_widths": [16, 32, 48]}, "quantization": {"weight_bits": [32, 8, 4], "activation_bits": [32, 8, 32]}, "distillation": {"alpha": 0.7, "temperature": 4.0}, "training": {"optimizer": "adamw", "learning_rate": 0.001, "weight_decay": 0.0005, "batch_size": 64, "epochs": 10, "dropout": 0.0, "label_smoothing": 0.1, "clip_norm": 5.0}}', '020a36e075d816b8', 6, '2026-01-01 00:00:18.000000');
SELECT setval('automl_finalist_id_seq', 1);
