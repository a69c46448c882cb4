BEGIN TRANSACTION;
CREATE TABLE agents (
	id VARCHAR(64) NOT NULL, 
	verifier BLOB NOT NULL, 
	mosquitto VARCHAR(300) NOT NULL, 
	enrolled_at BIGINT NOT NULL, 
	enrolled_by VARCHAR(200) NOT NULL, 
	revoked_at BIGINT, 
	session BIGINT NOT NULL, 
	ended_session BIGINT NOT NULL, 
	boot VARCHAR(26) NOT NULL, 
	agent_version VARCHAR(64) NOT NULL, 
	clock VARCHAR(16) NOT NULL, 
	heard_within_s BIGINT NOT NULL, 
	outbox VARCHAR(26) NOT NULL, 
	last_heard BIGINT, 
	state VARCHAR(16) NOT NULL, 
	reason VARCHAR(500) NOT NULL, 
	since BIGINT, 
	CONSTRAINT pk_agents PRIMARY KEY (id)
);
INSERT INTO "agents" VALUES('agent-1',X'E443921EB34841D72E973DE0774C99ED176392D562CCC34A98D9F95866A41461','plain:e443921eb34841d72e973de0774c99ed176392d562ccc34a98d9f95866a41461',1795476672000,'test',NULL,1,0,'01M80T5JNV0000000000000000','','unsynced',30,'',1795476672000,'online','born',1795476672000);
INSERT INTO "agents" VALUES('agent-2',X'F904A491C86EB827D83B6C5AD9790D4C5AB8090ECB727452660F29F5B0263CC8','plain:f904a491c86eb827d83b6c5ad9790d4c5ab8090ecb727452660f29f5b0263cc8',1795476672000,'test',1795476672000,0,0,'','','',30,'',NULL,'offline','revoked',1795476672000);
CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY);
INSERT INTO "alembic_version" VALUES('0004');
CREATE TABLE commands (
	id VARCHAR(26) NOT NULL, 
	"key" VARCHAR(71), 
	body_hash VARCHAR(71) NOT NULL, 
	agent VARCHAR(64) NOT NULL, 
	device VARCHAR(64) NOT NULL, 
	name VARCHAR(64) NOT NULL, 
	args JSON NOT NULL, 
	hazard VARCHAR(16) NOT NULL, 
	issuer VARCHAR(200) NOT NULL, 
	purpose VARCHAR(500) NOT NULL, 
	lease_s BIGINT, 
	configuration_version BIGINT, 
	timeout_s DOUBLE NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	issued_at BIGINT NOT NULL, 
	expires_at BIGINT NOT NULL, 
	accepted_at BIGINT NOT NULL, 
	sent_at BIGINT, 
	received_at BIGINT, 
	started_at BIGINT, 
	finished_at BIGINT, 
	cancel_at BIGINT, 
	told_at BIGINT, 
	data JSON NOT NULL, 
	reason TEXT NOT NULL, 
	CONSTRAINT pk_commands PRIMARY KEY (id), 
	CONSTRAINT uq_commands_key UNIQUE ("key")
);
INSERT INTO "commands" VALUES('01M85BZKG0SJXXGG02M7P56Q48','5af72dcd13bf50bf1fa9c84eb9d705ae09db1f1a6d2c075c68469d564fc8a603','sha256:da68aae6a2214b3b80a86c2f838ce10314ee9720dd5ce29569f74eb4165ec05b','agent-1','lamp-1','switch','{"level": 100, "on": true}','none','token operator','',NULL,NULL,10.0,'sent',1795476672000,1795476732000,1795476672000,1795476672000,NULL,NULL,NULL,NULL,NULL,'{}','');
CREATE TABLE configuration_changes (
	id INTEGER NOT NULL, 
	device VARCHAR(64) NOT NULL, 
	at BIGINT NOT NULL, 
	kind VARCHAR(16) NOT NULL, 
	version BIGINT NOT NULL, 
	hash VARCHAR(71) NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	document JSON NOT NULL, 
	errors JSON NOT NULL, 
	reason VARCHAR(500) NOT NULL, 
	who VARCHAR(200) NOT NULL, 
	CONSTRAINT pk_configuration_changes PRIMARY KEY (id)
);
INSERT INTO "configuration_changes" VALUES(1,'lamp-1',1795476672000,'set',1,'sha256:50fa4646cc9f6937ddb775473d19ee103abb759ea98b27f2de4e99db7c97719d','','{"interval_s": 5, "dimmed": false, "label": "\u8def\u706f"}','[]','','test');
INSERT INTO "configuration_changes" VALUES(2,'lamp-1',1795476672000,'reported',1,'sha256:50fa4646cc9f6937ddb775473d19ee103abb759ea98b27f2de4e99db7c97719d','applied','{"interval_s": 5, "dimmed": false, "label": "\u8def\u706f"}','[]','','');
CREATE TABLE configuration_desired (
	device VARCHAR(64) NOT NULL, 
	version BIGINT NOT NULL, 
	hash VARCHAR(71) NOT NULL, 
	document JSON NOT NULL, 
	issued_at BIGINT NOT NULL, 
	issued_by VARCHAR(200) NOT NULL, 
	answered BOOLEAN NOT NULL, 
	rollback_after_s BIGINT DEFAULT '300' NOT NULL, 
	CONSTRAINT pk_configuration_desired PRIMARY KEY (device)
);
INSERT INTO "configuration_desired" VALUES('lamp-1',1,'sha256:50fa4646cc9f6937ddb775473d19ee103abb759ea98b27f2de4e99db7c97719d','{"interval_s": 5, "dimmed": false, "label": "\u8def\u706f"}',1795476672000,'test',1,300);
CREATE TABLE configuration_layers (
	layer VARCHAR(16) NOT NULL, 
	subject VARCHAR(64) NOT NULL, 
	document JSON NOT NULL, 
	changed_at BIGINT NOT NULL, 
	changed_by VARCHAR(200) NOT NULL, 
	CONSTRAINT pk_configuration_layers PRIMARY KEY (layer, subject)
);
INSERT INTO "configuration_layers" VALUES('device','lamp-1','{"interval_s": 5, "label": "\u8def\u706f"}',1795476672000,'test');
CREATE TABLE configuration_reported (
	device VARCHAR(64) NOT NULL, 
	version BIGINT NOT NULL, 
	hash VARCHAR(71) NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	t BIGINT NOT NULL, 
	document JSON NOT NULL, 
	errors JSON NOT NULL, 
	reason VARCHAR(500) NOT NULL, 
	CONSTRAINT pk_configuration_reported PRIMARY KEY (device)
);
INSERT INTO "configuration_reported" VALUES('lamp-1',1,'sha256:50fa4646cc9f6937ddb775473d19ee103abb759ea98b27f2de4e99db7c97719d','applied',1795476672000,'{"interval_s": 5, "dimmed": false, "label": "\u8def\u706f"}','[]','');
CREATE TABLE console_sessions (
	hash VARCHAR(71) NOT NULL, 
	name VARCHAR(100) NOT NULL, 
	role VARCHAR(16) NOT NULL, 
	created_at BIGINT NOT NULL, 
	expires_at BIGINT NOT NULL, 
	last_used_at BIGINT NOT NULL, 
	CONSTRAINT pk_console_sessions PRIMARY KEY (hash)
);
INSERT INTO "console_sessions" VALUES('5258e8508d68116282e1d7708b2d3d47df6cae835cff2ff61deb0afacb098c07','Li Na','operator',1795476672000,1796081472000,1795476672000);
CREATE TABLE devices (
	id VARCHAR(64) NOT NULL, 
	agent VARCHAR(64) NOT NULL, 
	profile VARCHAR(64) NOT NULL, 
	first_seen BIGINT NOT NULL, 
	carried BOOLEAN NOT NULL, 
	interval_s DOUBLE, 
	CONSTRAINT pk_devices PRIMARY KEY (id), 
	CONSTRAINT fk_devices_agent FOREIGN KEY(agent) REFERENCES agents (id)
);
INSERT INTO "devices" VALUES('lamp-1','agent-1','lamp',1795476672000,1,NULL);
INSERT INTO "devices" VALUES('lamp-2','agent-1','lamp',1795476672000,1,NULL);
INSERT INTO "devices" VALUES('lamp-3','agent-1','lamp',1795476672000,1,NULL);
INSERT INTO "devices" VALUES('lamp-4','agent-1','lamp',1795476672000,1,NULL);
INSERT INTO "devices" VALUES('lamp-5','agent-1','lamp',1795476672000,1,NULL);
CREATE TABLE enrolment_codes (
	id VARCHAR(26) NOT NULL, 
	hash VARCHAR(71) NOT NULL, 
	agent VARCHAR(64), 
	note VARCHAR(200) NOT NULL, 
	uses_left BIGINT NOT NULL, 
	expires_at BIGINT NOT NULL, 
	created_at BIGINT NOT NULL, 
	created_by VARCHAR(200) NOT NULL, 
	CONSTRAINT pk_enrolment_codes PRIMARY KEY (id), 
	CONSTRAINT uq_enrolment_codes_hash UNIQUE (hash)
);
INSERT INTO "enrolment_codes" VALUES('01M85BZKG0D8QG4N86JECCN6GG','9c30d552dd7a0e68359a35738aeb0e5901061cffb6137dbd864372a5bd36a34c','agent-3','',1,1795563072000,1795476672000,'test');
CREATE TABLE met_lives (
	agent VARCHAR(64) NOT NULL, 
	outbox VARCHAR(26) NOT NULL, 
	life VARCHAR(26) NOT NULL, 
	met_at BIGINT NOT NULL, 
	CONSTRAINT pk_met_lives PRIMARY KEY (agent, outbox, life), 
	CONSTRAINT fk_met_lives_agent FOREIGN KEY(agent) REFERENCES agents (id)
);
INSERT INTO "met_lives" VALUES('agent-1','01M80T5JNV0000000000000001','01M80T5JNV0000000000000000',1795476672000);
CREATE TABLE refusals (
	who VARCHAR(100) NOT NULL, 
	why VARCHAR(64) NOT NULL, 
	detail VARCHAR(300) NOT NULL, 
	count BIGINT NOT NULL, 
	first_at BIGINT NOT NULL, 
	last_at BIGINT NOT NULL, 
	CONSTRAINT pk_refusals PRIMARY KEY (who, why)
);
INSERT INTO "refusals" VALUES('stranger','unknown_agent','MQTT from 127.0.0.1',1,1795476672000,1795476672000);
CREATE TABLE sign_in_links (
	hash VARCHAR(71) NOT NULL, 
	name VARCHAR(100) NOT NULL, 
	role VARCHAR(16) NOT NULL, 
	created_at BIGINT NOT NULL, 
	created_by VARCHAR(200) NOT NULL, 
	expires_at BIGINT NOT NULL, 
	used_at BIGINT, 
	CONSTRAINT pk_sign_in_links PRIMARY KEY (hash)
);
INSERT INTO "sign_in_links" VALUES('3046ab893edc0b267925d6ed183a62218765bfb7417c7508721c22f59d0fe108','Wang Wei','operator',1795476672000,'test',1795480272000,NULL);
INSERT INTO "sign_in_links" VALUES('f9cc21cfa5937c41faabdc68457fabf116a8a1a3e6b7dbce7be871ff0ec0f365','Li Na','operator',1795476672000,'test',1795480272000,1795476672000);
CREATE TABLE tokens (
	id VARCHAR(26) NOT NULL, 
	hash VARCHAR(71) NOT NULL, 
	name VARCHAR(100) NOT NULL, 
	role VARCHAR(16) NOT NULL, 
	created_at BIGINT NOT NULL, 
	created_by VARCHAR(200) NOT NULL, 
	expires_at BIGINT, 
	last_used_at BIGINT, 
	CONSTRAINT pk_tokens PRIMARY KEY (id), 
	CONSTRAINT uq_tokens_hash UNIQUE (hash)
);
INSERT INTO "tokens" VALUES('01M85BZKG0DJE5K8VPBCWGB4CK','369eb8a958af020a4b46ef7bb942d59f94e807a6b1a678aafb92f79710943196','test administrator','administrator',1795476672000,'test',NULL,NULL);
CREATE INDEX ix_enrolment_codes_expires_at ON enrolment_codes (expires_at);
CREATE INDEX ix_sign_in_links_expires_at ON sign_in_links (expires_at);
CREATE INDEX ix_console_sessions_expires_at ON console_sessions (expires_at);
CREATE INDEX ix_configuration_desired_answered ON configuration_desired (answered);
CREATE INDEX ix_configuration_changes_device_id ON configuration_changes (device, id);
CREATE INDEX ix_commands_state_id ON commands (state, id);
CREATE INDEX ix_commands_device_id ON commands (device, id);
CREATE INDEX ix_commands_agent_id ON commands (agent, id);
CREATE INDEX ix_commands_finished_at ON commands (finished_at);
CREATE INDEX ix_devices_profile ON devices (profile);
CREATE INDEX ix_devices_agent ON devices (agent);
COMMIT;
